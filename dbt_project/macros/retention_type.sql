{#- What became of the value of a year ago: one of four words. -#}
{% macro retention_type(present, year_ago) -%}
    case
        when {{ present }} is null or {{ year_ago }} is null then null
        when {{ present }} <= 0 and {{ year_ago }} > 0 then 'Cancellation'
        when {{ present }} < {{ year_ago }} then 'Downgrade'
        when {{ present }} > {{ year_ago }} then 'Upgrade'
        else 'Retention'
    end
{%- endmacro %}
