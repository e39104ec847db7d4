{#-
    True for the one row of int_exchange_rates__ranged, joined as rates, that holds for a currency on a
    day. Of no known day only the reporting currency has a rate, which holds since ever.
-#}
{% macro is_rate_of(currency, day) -%}
    {{ currency }} = rates.currency_code
    and coalesce({{ day }}, '-infinity'::date) >= rates.valid_from
    and coalesce({{ day }}, '-infinity'::date) < rates.valid_before
{%- endmacro %}
