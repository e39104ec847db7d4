{#-
    The day on which the data was last seen: the variable as_of, else the latest change among the
    rows of a relation. The clock is not asked, so that an old copy gives the answers of its day.
-#}
{% macro today_of(relation, column) -%}
    {% if var('as_of') -%}
        select '{{ var("as_of") }}'::timestamptz::date as today
    {%- else -%}
        select (max({{ column }}) at time zone 'UTC')::date as today from {{ relation }}
    {%- endif %}
{%- endmacro %}
