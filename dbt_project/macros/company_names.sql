{#-
    A company's name as it is compared: lower case, accents and punctuation gone, legal forms at
    the end gone ("Müller & Söhne GmbH" and "muller and sohne" are the same).
-#}
{% macro normalised_company_name(column) -%}
    nullif(
        coalesce(
            nullif(
                regexp_replace(
                    {{ folded_name(column) }},
                    '(\s+(inc|incorporated|llc|llp|lp|ltd|limited|corp|corporation|co|company|plc|gmbh'
                    || '|mbh|ag|kg|kgaa|ug|se|sa|sas|sarl|sl|srl|spa|bv|nv|ab|oy|oyj|as|asa|aps|pty'
                    || '|pte|pvt|kk|ltda|sro|holding|holdings|group))+$',
                    ''
                ),
                ''
            ),
            {{ folded_name(column) }}
        ),
        ''
    )
{%- endmacro %}

{% macro folded_name(column) -%}
    btrim(
        regexp_replace(
            regexp_replace(
                replace(
                    translate(
                        replace(lower({{ column }}), 'ß', 'ss'),
                        'àáâãäåāçčćèéêëēìíîïñńòóôõöøōùúûüūýÿšśžźżłđ',
                        'aaaaaaaccceeeeeiiiinnooooooouuuuuyysszzzld'
                    ),
                    '&', ' and '
                ),
                '[.''’`]', '', 'g'
            ),
            '[^[:alnum:]]+', ' ', 'g'
        )
    )
{%- endmacro %}
