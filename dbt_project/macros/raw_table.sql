{#-
    A raw table; where nothing was loaded yet, an empty one with the columns that the source
    declares, so that a company without one of the vendors still has all models. A declared column
    that the model reads and the table lacks is named here, with the way out: Postgres would name
    only the column, somewhere inside of a view.

    Asked of the catalog, not of dbt's cache of relations: while one thread fills that, another finds
    the schema cached and the table missing, and would build an empty model over a full table.
-#}
{% macro raw_table(source_name, table_name) -%}
    {%- set relation = source(source_name, table_name) -%}
    {%- if execute -%}
        {%- set present = columns_in_catalog(relation) -%}
        {%- set declared = namespace(columns=[]) -%}
        {%- for node in graph.sources.values()
            if node.source_name == source_name and node.name == table_name -%}
            {%- set declared.columns = node.columns.values() | list -%}
        {%- endfor -%}
        {%- if not present -%}
            (
                select
                {%- for column in declared.columns %}
                    null::{{ column.data_type }} as {{ adapter.quote(column.name) }}
                    {%- if not loop.last %},{% endif %}
                {%- endfor %}
                limit 0
            ) as not_loaded_yet
        {%- else -%}
            {%- set read = modules.re.findall('[A-Za-z0-9_]+', model.raw_code) -%}
            {%- set gone = [] -%}
            {%- for column in declared.columns
                if column.name in read and column.name not in present -%}
                {%- do gone.append(column.name) -%}
            {%- endfor -%}
            {%- if gone -%}
                {{ exceptions.raise_compiler_error(
                    model.name ~ ' reads ' ~ gone | join(', ') ~ ' of ' ~ source_name ~ '.' ~ table_name
                    ~ ', and the table has no such column: load the stream again (meltano-assets extract '
                    ~ source_name ~ '.' ~ table_name ~ '), which adds what it declares; or take the column'
                    ~ ' out of the model'
                ) }}
            {%- endif -%}
            {{ relation }}
        {%- endif -%}
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{#- The names of a table's columns; none where there is no such table. -#}
{% macro columns_in_catalog(relation) -%}
    {%- set found -%}
        select columns.attname
        from pg_catalog.pg_attribute as columns
        join pg_catalog.pg_class as tables on tables.oid = columns.attrelid
        join pg_catalog.pg_namespace as schemas on schemas.oid = tables.relnamespace
        where
            schemas.nspname = '{{ relation.schema }}'
            and tables.relname = '{{ relation.identifier }}'
            and columns.attnum > 0
            and not columns.attisdropped
    {%- endset -%}
    {{- return(run_query(found).columns[0].values() | list) -}}
{%- endmacro %}
