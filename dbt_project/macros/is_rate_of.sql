{#- True for the one row of int_exchange_rates__ranged, joined as rates, that holds for a currency on a day. -#}
{% macro is_rate_of(currency, day) -%}
    {{ currency }} = rates.currency_code
    and {{ day }} >= rates.valid_from
    and {{ day }} < rates.valid_before
{%- endmacro %}
