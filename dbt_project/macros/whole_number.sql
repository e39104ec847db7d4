{#- The whole number in a text such as "1,250" or "1250.0"; null where there is none. -#}
{% macro whole_number(expression) -%}
    substring(replace({{ expression }}, ',', '') from '^\s*(\d{1,15})(?:\.\d*)?\s*$')::bigint
{%- endmacro %}
