{#- Snapshots keep moments, not wall-clock readings: the adapter's own macro drops the time zone. -#}
{% macro postgres__snapshot_get_time() -%}
    {{ current_timestamp() }}
{%- endmacro %}
