{#- True for a record that the vendor has deleted, however we learned it. -#}
{% macro is_deleted(flag=none) -%}
    ({% if flag %}coalesce({{ flag }}, false) or {% endif %}_deleted_at is not null)
{%- endmacro %}
