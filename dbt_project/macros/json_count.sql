{#- A count in a JSON object; null where it is missing, no number, or none that a count can be. -#}
{% macro json_count(column, key) -%}
    case
        when jsonb_typeof({{ column }} -> '{{ key }}') = 'number'
            then case
                when ({{ column }} ->> '{{ key }}')::numeric between 0 and 9007199254740991
                    then ({{ column }} ->> '{{ key }}')::numeric::bigint
            end
    end
{%- endmacro %}
