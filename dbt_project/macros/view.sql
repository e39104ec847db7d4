{#-
    A view is replaced where it stands, so that what others have built on it stays, with who may read it;
    only one whose columns changed otherwise than by new ones at the end is made anew, without what was on
    it. One statement instead of a view beside it, two renamings and a drop.
-#}
{% materialization view, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='view') -%}
    {%- set grants = config.get('grants') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if existing is not none and existing.is_view %}
        {#- What is wrong in a model is told with its line, which it is not inside of a block. -#}
        {% call statement('checked') -%}
            select * from (
                {{ sql }}
            ) as checked limit 0
        {%- endcall %}
        {%- set replacing = get_replace_view_sql(target, sql) %}
        {% call statement('replaced') -%}
            do $replaced$
            begin
                execute $view${{ replacing }}$view$;
            exception when invalid_table_definition then
                drop view {{ target }} cascade;
                execute $view${{ replacing }}$view$;
            end
            $replaced$
        {%- endcall %}
        {%- do store_raw_result('main', message='CREATE VIEW', code='CREATE VIEW', rows_affected='-1') %}
    {%- else %}
        {%- if existing is not none %}
            {%- do adapter.drop_relation(existing) %}
        {%- endif %}
        {% call statement('main') -%}
            {{ get_create_view_as_sql(target, sql) }}
        {%- endcall %}
    {%- endif %}

    {%- do apply_grants(target, grants, should_revoke=should_revoke(existing, full_refresh_mode=False)) %}
    {%- do persist_docs(target, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}
