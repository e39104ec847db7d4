{#-
    Grants on what was just built, in the transaction that puts it in its place: who could read the
    table before can read it after, nobody in between can read more, and a column that tells of a
    person was never granted. Who may read what, `meltano-assets roles apply` has left in
    meltano.role_access; which columns are personal, the model says itself and what it is made of. A
    column that it does not describe is treated as personal.
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
    {%- set found, known = [], {} -%}
    {%- for name in columns_in_catalog(this) if name in described -%}
        {%- if not is_personal(model, name, known) -%}
            {%- do found.append(adapter.quote(name | replace('"', '""'))) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(found) -}}
{%- endmacro %}

{#-
    Whether the column is marked, or has its name from a marked one above it and does not say why it is
    none: who writes a model of their own and forgets the mark opens nothing. As in roles.py.
-#}
{% macro is_personal(node, name, known) -%}
    {%- set place = node.unique_id ~ ' ' ~ name -%}
    {%- if place not in known -%}
        {%- do known.update({place: is_found_personal(node, name, known)}) -%}
    {%- endif -%}
    {{- return(known[place]) -}}
{%- endmacro %}

{% macro is_found_personal(node, name, known) -%}
    {%- if name in node.columns -%}
        {%- set column = node.columns[name] -%}
        {%- set meta = column.get('meta') or column.get('config', {}).get('meta') or {} -%}
        {%- if meta.get('pii') -%}
            {{- return(true) -}}
        {%- elif meta.get('impersonal') -%}
            {{- return(false) -}}
        {%- endif -%}
    {%- endif -%}
    {%- set names = former_names(node, name) -%}
    {%- for key in node.get('depends_on', {}).get('nodes', []) -%}
        {%- set parent = graph.nodes.get(key) or graph.sources.get(key) -%}
        {%- for former in names if parent and is_personal(parent, former, known) -%}
            {{- return(true) -}}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(false) -}}
{%- endmacro %}

{#-
    The column's own name and those that the model's SQL gives it another name of, step by step: what
    stands last before `as`, also inside of functions. As in roles.py.
-#}
{% macro former_names(node, name) -%}
    {%- set names = [name] -%}
    {%- set text = (node.get('raw_code') or '') | lower | replace('"', '') -%}
    {%- for known in names if ' as ' ~ known in text -%}
        {%- set pieces = text.split(' as ' ~ known) -%}
        {%- for before in pieces[:-1] -%}
            {#- Backwards, which takes one step a character. -#}
            {%- set last = modules.re.match(
                '\\s*(?:[a-z_]+::)?[\'\\s)}]*([a-z0-9_$]+)', before[-120:] | reverse
            ) -%}
            {%- if
                last
                and last.group(1) | reverse not in names
                and not modules.re.match('[a-z0-9_$]', pieces[loop.index])
            -%}
                {%- do names.append(last.group(1) | reverse) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(names) -}}
{%- endmacro %}
