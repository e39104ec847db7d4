{#- Text without blanks around it; null where nothing is left. -#}
{% macro clean_text(column) -%}
    nullif(btrim({{ column }}, e' \t\r\n'), '')
{%- endmacro %}
