{#-
    dbt's test in a plan that fits millions of rows. What a unique index holds already is not
    counted: Postgres sees that before it reads the first row. Anything else is sorted, which takes
    half as long as a table of hashes that outgrows its memory.
-#}
{% macro postgres__test_unique(model, column_name) %}

select
    unique_field,
    count(*) as n_records
from (
    select {{ column_name }} as unique_field
    from {{ model }}
    where
        {{ column_name }} is not null
        {%- if model is not string %}
        and not exists (
            select from pg_index as known
            inner join pg_attribute as key
                on key.attrelid = known.indrelid and key.attnum = known.indkey[0]
            where
                known.indrelid = to_regclass('{{ model.include(database=false) }}')
                and known.indisunique
                and known.indisvalid
                and known.indnkeyatts = 1
                and known.indpred is null
                and key.attname = '{{ column_name }}'
        )
        {%- endif %}
    order by unique_field
) as ordered
group by unique_field
having count(*) > 1

{% endmacro %}
