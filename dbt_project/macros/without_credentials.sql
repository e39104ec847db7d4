{#- Text without the user names and passwords that people leave in addresses. -#}
{% macro without_credentials(column) -%}
    regexp_replace({{ column }}, '//[^/?#@\s"]*@', '//', 'g')
{%- endmacro %}
