{#-
    The raw column that field_mapping.yml gives for a concept of the data model, in its type; null of
    that type where the organisation has no such field. A column of another kind is refused here: a
    cast that fails in some table later would tell a record's value and not the field. The mapping comes
    through the variable DBT_FIELD_MAPPING, which `meltano-assets dbt` and the dbt assets set from the
    file.
-#}
{% macro mapped(table_name, concept, data_type='text') -%}
    {%- set mapping = env_var('DBT_FIELD_MAPPING', '') -%}
    {%- if execute and not mapping -%}
        {{ exceptions.raise_compiler_error(
            'field_mapping.yml was not handed to dbt: run `meltano-assets dbt '
            ~ (invocation_args_dict.get('which') or 'build') ~ '` instead of dbt itself'
        ) }}
    {%- endif -%}
    {%- set column = (fromjson(mapping) if mapping else {}).get(table_name, {}).get(concept) -%}
    {%- set relation = load_relation(source('salesforce', table_name)) if execute and column -%}
    {%- if not column or not relation -%}
        null::{{ data_type }}
    {%- else -%}
        {%- set columns = adapter.get_columns_in_relation(relation) -%}
        {%- set held = columns | selectattr('name', 'equalto', column) | first -%}
        {%- set read_as = {
            'numeric': ['numeric', 'integer', 'bigint', 'smallint', 'double precision', 'real'],
            'date': ['date', 'timestamp with time zone', 'timestamp without time zone'],
            'boolean': ['boolean'],
        } -%}
        {%- if not held -%}
            {{ exceptions.raise_compiler_error(
                'field_mapping.yml maps ' ~ table_name ~ '.' ~ concept ~ ' to the column ' ~ column
                ~ ', which ' ~ relation ~ ' does not have: extract it (meltano-assets extract '
                ~ 'salesforce.' ~ table_name ~ '), or see meltano-assets mapping check'
            ) }}
        {%- elif held.dtype not in read_as.get(data_type, [held.dtype]) -%}
            {{ exceptions.raise_compiler_error(
                'field_mapping.yml maps ' ~ table_name ~ '.' ~ concept ~ ' to the column ' ~ column
                ~ ', which holds ' ~ held.dtype ~ ' in ' ~ relation ~ ' and has to hold '
                ~ data_type ~ ': map another field (meltano-assets mapping suggest proposes one), '
                ~ 'or null where there is none'
            ) }}
        {%- elif held.dtype == 'timestamp with time zone' and data_type == 'date' -%}
            ({{ adapter.quote(column) }} at time zone 'UTC')::date
        {%- else -%}
            {{ adapter.quote(column) }}
            {%- if held.dtype != data_type %}::{{ data_type }}{% endif -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
