{#-
    dbt's test in a plan that fits millions of rows. What a unique index holds already is not
    counted: Postgres sees that before it reads the first row. Anything else is sorted, which takes
    half as long as a table of hashes that outgrows its memory.
-#}
{% macro postgres__test_unique(model, column_name) %}
{%- set held = column_behind(model, column_name) if execute and model is not string %}

select
    unique_field,
    count(*) as n_records
from (
    select {{ column_name }} as unique_field
    from {{ model }}
    where
        {{ column_name }} is not null
        {%- if held %}
        and not exists (
            select from pg_index as known
            inner join pg_attribute as key
                on key.attrelid = known.indrelid and key.attnum = known.indkey[0]
            where
                known.indrelid = to_regclass('{{ held.table }}')
                and known.indisunique
                and known.indisvalid
                and known.indnkeyatts = 1
                and known.indpred is null
                and quote_ident(key.attname) = '{{ held.column }}'
        )
        {%- endif %}
    order by unique_field
) as ordered
group by unique_field
having count(*) > 1

{% endmacro %}

{#-
    The table and the column in it that a column is, each row of the table being one row at most;
    none where that is not so. Of a view Postgres tells how it would be read: where one table is
    left, it has found that no join adds a row.
-#}
{% macro column_behind(relation, column_name) -%}
    {%- set known = load_cached_relation(relation) -%}
    {%- if not known or not known.is_view -%}
        {{- return({'table': relation.include(database=false), 'column': column_name}) -}}
    {%- endif -%}
    {%- set plan = run_query(
        'explain (verbose, costs off, format json) select ' ~ column_name ~ ' from ' ~ relation
    ) -%}
    {%- set at = namespace(node=fromjson(plan.columns[0].values()[0])[0]['Plan'], read=[]) -%}
    {%- for depth in range(20) if at.node['Node Type'] in ('Subquery Scan', 'Gather') -%}
        {%- set at.node = at.node['Plans'][0] -%}
    {%- endfor -%}
    {%- for output in at.node.get('Output', []) if not output.startswith('NULL::') -%}
        {%- do at.read.append(output) -%}
    {%- endfor -%}
    {%- if
        at.node['Node Type'] in ('Seq Scan', 'Index Scan', 'Index Only Scan')
        and at.read | length == 1
        and at.read[0].startswith(at.node['Alias'] ~ '.')
    -%}
        {{- return({
            'table': adapter.quote(at.node['Schema']) ~ '.' ~ adapter.quote(at.node['Relation Name']),
            'column': at.read[0][at.node['Alias'] | length + 1:],
        }) -}}
    {%- endif -%}
    {{- return(none) -}}
{%- endmacro %}
