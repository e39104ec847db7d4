{#- A number inside of JSON as numeric; null where it is anything else. -#}
{% macro json_number(value) -%}
    case when jsonb_typeof({{ value }}) = 'number' then ({{ value }})::numeric end
{%- endmacro %}
