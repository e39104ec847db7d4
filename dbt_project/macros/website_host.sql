{#-
    The host name in a website as people type it: scheme, credentials, port, path, blanks, case and
    trailing dots gone. Null where no name with a dot is left.
-#}
{% macro website_host(column) -%}
    substring(
        rtrim(
            regexp_replace(
                regexp_replace(lower(btrim({{ column }})), '^([a-z][a-z0-9+.-]*:)?/*', ''),
                '^[^/?#@]*@|[/?#:,;\s].*$', '', 'g'
            ),
            '.'
        )
        from '^[^\s.]+(?:\.[^\s.]+)+$'
    )
{%- endmacro %}
