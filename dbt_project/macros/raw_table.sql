{#-
    A raw table; where nothing was loaded yet, an empty one with the columns that the source
    declares, so that a company without one of the vendors still has all models.

    Asked of the catalog, not of dbt's cache of relations: while one thread fills that, another finds
    the schema cached and the table missing, and would build an empty model over a full table.
-#}
{% macro raw_table(source_name, table_name) -%}
    {%- set relation = source(source_name, table_name) -%}
    {%- if execute
        and not is_in_catalog(relation) -%}
        {%- set declared = namespace(columns=[]) -%}
        {%- for node in graph.sources.values()
            if node.source_name == source_name and node.name == table_name -%}
            {%- set declared.columns = node.columns.values() | list -%}
        {%- endfor -%}
        (
            select
            {%- for column in declared.columns %}
                null::{{ column.data_type }} as {{ adapter.quote(column.name) }}
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
            limit 0
        ) as not_loaded_yet
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{% macro is_in_catalog(relation) -%}
    {%- set found -%}
        select 1
        from pg_catalog.pg_class as tables
        join pg_catalog.pg_namespace as schemas on schemas.oid = tables.relnamespace
        where schemas.nspname = '{{ relation.schema }}' and tables.relname = '{{ relation.identifier }}'
    {%- endset -%}
    {{- return(run_query(found).rows | length > 0) -}}
{%- endmacro %}
