{#-
    A raw table; where nothing was loaded yet, an empty one with the columns that the source
    declares, so that a company without one of the vendors still has all models.
-#}
{% macro raw_table(source_name, table_name) -%}
    {%- set relation = source(source_name, table_name) -%}
    {%- if execute
        and load_relation(relation) is none -%}
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
