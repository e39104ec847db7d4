{#-
    The raw column that field_mapping.yml gives for a concept of the data model, cast to its type;
    null of that type where the organisation has no such field. The mapping comes through the
    variable DBT_FIELD_MAPPING, which `meltano-assets dbt` and the dbt assets set from the file.
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
        {%- set present = adapter.get_columns_in_relation(relation) | map(attribute='name') -%}
        {%- if column not in present -%}
            {{ exceptions.raise_compiler_error(
                'field_mapping.yml maps ' ~ table_name ~ '.' ~ concept ~ ' to the column ' ~ column
                ~ ', which ' ~ relation ~ ' does not have: extract it (meltano-assets extract '
                ~ 'salesforce.' ~ table_name ~ '), or see meltano-assets mapping check'
            ) }}
        {%- endif -%}
        {{ adapter.quote(column) }}
        {%- if data_type != 'text' %}::{{ data_type }}{% endif -%}
    {%- endif -%}
{%- endmacro %}
