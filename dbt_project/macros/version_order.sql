{#-
    A version as an array that sorts as versions do: 10.1.0 after 9.5.9, a release after its
    release candidates. Null where the text does not begin with a number.
-#}
{% macro version_order(column) -%}
    (
        string_to_array(
            substring({{ column }} from '^\s*v?(\d{1,9}(?:\.\d{1,9}){0,2})(?!\d)'), '.'
        )::int[]
        || array_fill(
            0,
            array[
                3 - coalesce(
                    array_length(
                        string_to_array(
                            substring({{ column }} from '^\s*v?(\d{1,9}(?:\.\d{1,9}){0,2})(?!\d)'), '.'
                        ),
                        1
                    ),
                    3
                )
            ]
        )
        || case when {{ column }} ~* '(rc|pre|alpha|beta)' then 0 else 1 end
        || coalesce(substring({{ column }} from '(?i)rc\.?(\d{1,6})')::int, 0)
    )
{%- endmacro %}
