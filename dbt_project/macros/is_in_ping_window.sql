{#- True inside the days of pings that host records are made of; needs a relation as_of. -#}
{% macro is_in_ping_window(column) -%}
    {{ column }} >= (select as_of from as_of) - interval '{{ var("ping_window_days") }} days'
    {%- if var('as_of') %}
    and {{ column }} <= (select as_of from as_of)
    {%- endif %}
{%- endmacro %}
