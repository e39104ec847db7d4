{#- A quotient to six places; null, not zero, where the denominator is empty. -#}
{% macro ratio(numerator, denominator) -%}
    round(({{ numerator }})::numeric / nullif({{ denominator }}, 0)::numeric, 6)
{%- endmacro %}
