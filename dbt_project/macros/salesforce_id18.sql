{#-
    A Salesforce id of 18 characters: one of 15 gets its checksum, three letters that tell which of
    its characters are capitals. Other values are left as they are.
-#}
{% macro salesforce_id18(column) -%}
    case
        when length({{ column }}) = 15
            then {{ column }}
            {%- for block in range(3) %}
                || substr(
                    'ABCDEFGHIJKLMNOPQRSTUVWXYZ012345',
                    1
                    {%- for place in range(5) %}
                    + (substr({{ column }}, {{ block * 5 + place + 1 }}, 1) collate "C" between 'A' and 'Z')::integer * {{ 2 ** place }}
                    {%- endfor %},
                    1
                )
            {%- endfor %}
        else {{ column }}
    end
{%- endmacro %}
