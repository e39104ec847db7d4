{#- An index on these columns of the table that was built: also of one that stands since before. -#}
{% macro keep_index(columns) %}
do $$
begin
    if not exists (
        select from pg_index as known
        where
            known.indrelid = '{{ this }}'::regclass
            and array(
                select attribute.attname::text
                from unnest(known.indkey) with ordinality as key (number, place)
                inner join pg_attribute as attribute
                    on attribute.attrelid = known.indrelid and attribute.attnum = key.number
                order by key.place
            ) = array['{{ columns | join("', '") }}']
    ) then
        create index on {{ this }} ({{ columns | join(', ') }});
    end if;
end
$$
{% endmacro %}
