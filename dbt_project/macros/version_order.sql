{#-
    A version as text that sorts as versions do: 10.1.0 after 9.5.9, a release after its release
    candidates. Null where the text does not begin with a number.
-#}
{% macro version_order(column) -%}
    lpad(substring({{ column }} from '^\s*v?([0-9]{1,6})(?![0-9])'), 6, '0')
    {%- for pattern in ['[0-9]+[.]([0-9]{1,6})(?![0-9])', '[0-9]+[.][0-9]+[.]([0-9]{1,6})(?![0-9])'] %}
    || '.' || lpad(coalesce(substring({{ column }} from '^\s*v?{{ pattern }}'), '0'), 6, '0')
    {%- endfor %}
    || case when {{ column }} ~* '(rc|pre|alpha|beta)' then '-' else '~' end
    || lpad(coalesce(substring({{ column }} from '(?i)rc\.?([0-9]{1,6})'), '0'), 6, '0')
{%- endmacro %}
