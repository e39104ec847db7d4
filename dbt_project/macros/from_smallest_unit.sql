{#- Stripe's amounts are in the smallest unit of their currency: most have a hundredth, some none, some a thousandth. -#}
{% macro from_smallest_unit(amount, currency) -%}
    {{ amount }}::numeric / case
        when
            upper({{ currency }}) in (
                'BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF', 'VND', 'VUV',
                'XAF', 'XOF', 'XPF'
            )
            then 1
        when upper({{ currency }}) in ('BHD', 'JOD', 'KWD', 'OMR', 'TND') then 1000
        else 100
    end
{%- endmacro %}
