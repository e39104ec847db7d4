{#-
    Grants on what was just built, in the transaction that puts it in its place: who could read the
    table before can read it after, nobody in between can read more, and a column that tells of a
    person was never granted. Who may read what, `meltano-assets roles apply` has left in
    meltano.role_access; which columns are personal, the model says itself. A column that it does
    not describe is treated as personal.
-#}
{% macro grant_readers() -%}
    {%- if execute and has_roles() -%}
        {%- set roles = roles_that_reach(this) | list -%}
        {%- set columns = impersonal_columns() if false in roles | map(attribute=2) else [] -%}
        {%- for role, is_writing, has_personal_data in roles -%}
            {%- if has_personal_data -%}
                grant select
                {%- if is_writing %}, insert, update, delete, truncate, references, trigger{% endif %}
                on {{ this }} to {{ role }};
            {%- else -%}
                revoke all on {{ this }} from {{ role }};
                {%- if columns -%}
                    grant select ({{ columns | join(', ') }}) on {{ this }} to {{ role }};
                {%- endif -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{#-
    Whether roles were ever applied. The variable is set by `meltano-assets dbt` and the dbt assets, which ask
    once for all models.
-#}
{% macro has_roles() -%}
    {%- set told = env_var('DBT_HAS_ROLES', '') -%}
    {%- if told -%}
        {{- return(told == 'yes') -}}
    {%- endif -%}
    {%- set there = run_query("select to_regclass('meltano.role_access') is not null") -%}
    {{- return(there.columns[0].values()[0]) -}}
{%- endmacro %}

{#- Role, whether it writes, whether it may read personal data; of roles that are still there. -#}
{% macro roles_that_reach(relation) -%}
    {%- set found -%}
        select
            format('%I', access.role),
            bool_or(access.access = 'write'),
            bool_and(access.has_personal_data)
        from meltano.role_access as access
        join pg_catalog.pg_roles as roles on roles.rolname = access.role
        where
            access.schema_name = '{{ relation.schema | replace("'", "''") }}'
            and access.table_name in ('*', '{{ relation.identifier | replace("'", "''") }}')
            and access.role <> current_user
        group by access.role
        having not bool_or(access.access = 'except')
        order by 1
    {%- endset -%}
    {{- return(run_query(found).rows) -}}
{%- endmacro %}

{#- Columns of the model that is built which are described and tell of nobody, quoted. -#}
{% macro impersonal_columns() -%}
    {%- set described = {} -%}
    {%- if model.resource_type == 'snapshot' -%}
        {#- It has the columns of what it is taken of, besides its own. -#}
        {%- for parent in model.depends_on.nodes -%}
            {%- do described.update((graph.nodes.get(parent) or graph.sources.get(parent)).columns) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- do described.update(model.columns) -%}
    {%- set found = [] -%}
    {%- for name in columns_in_catalog(this) if name in described -%}
        {%- set column = described[name] -%}
        {%- set meta = column.get('meta') or column.get('config', {}).get('meta') or {} -%}
        {%- if not meta.get('pii') -%}
            {%- do found.append(adapter.quote(name | replace('"', '""'))) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(found) -}}
{%- endmacro %}
