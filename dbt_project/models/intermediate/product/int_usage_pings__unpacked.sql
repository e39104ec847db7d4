{#-
    Unpacking the counters is what costs: it is done once for each ping, when it comes or changes.
    A ping that is here as it was loaded is left alone, however lately that was.
    What may change later without the ping (host, account) is joined by those who read.
-#}
{{
    config(
        materialized='incremental',
        unique_key='usage_ping_id',
        incremental_strategy='delete+insert',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['usage_ping_id'], 'unique': true},
            {'columns': ['loaded_at']},
            {'columns': ['unpacked_at']},
        ],
        post_hook="{{ keep_index(['install_uuid', 'pinged_at']) }}",
    )
}}

{#- The planner has to see the moment: of what a query finds it expects a third of all pings. #}
{%- set since = run_query(
    "select (coalesce(max(loaded_at), '-infinity') - interval '"
    ~ var("incremental_lookback_hours") ~ " hours')::text from " ~ this
).columns[0].values()[0] if is_incremental() %}

with

pings as (
    select staged.* from {{ ref('stg_version__usage_data') }} as staged
    {%- if is_incremental() %}
    where
        -- A load carries the time of its beginning and may end after a later one.
        staged.loaded_at >= '{{ since }}'
        and not exists (
            select 1 from {{ this }} as known
            where
                known.usage_ping_id = staged.usage_ping_id
                and known.loaded_at = staged.loaded_at
                and known.is_deleted = staged.is_deleted
        )
    {%- endif %}
),

versions as (
    select distinct version
    from pings
    where version is not null
),

-- There are few versions and many pings: each is read once.
parsed_versions as materialized (
    select
        version,
        substring(version from '^\s*v?([0-9]{1,6})(?![0-9])')::integer as version_major,
        substring(version from '^\s*v?[0-9]+[.]([0-9]{1,6})(?![0-9])')::integer as version_minor,
        case when version ~* 'ee' then 'EE' else 'CE' end as main_edition
    from versions
),

final as (
    select
        pings.usage_ping_id,
        pings.install_uuid,
        pings.host_id,
        pings.license_id,
        pings.raw_host,
        pings.version,
        parsed_versions.version_major,
        parsed_versions.version_minor,
        coalesce(parsed_versions.main_edition, 'CE') as main_edition,
        case
            when pings.edition = 'CE' then 'Core'
            when pings.edition = 'EES' then 'Starter'
            when pings.edition = 'EEP' then 'Premium'
            when pings.edition = 'EEU' then 'Ultimate'
            when pings.edition = 'EE Free' then 'Core'
            when pings.edition like 'EE%' then 'Starter'
        end as product_tier,
        pings.installation_type,
        pings.is_mattermost_enabled,
        pings.active_user_count,
        {%- for counter in usage_counters() %}
        {{ json_count('pings.stats', counter) }} as {{ counter }}_count,
        {%- endfor %}
        pings.is_deleted,
        pings.recorded_at,
        pings.created_at,
        pings.updated_at as pinged_at,
        pings.loaded_at,
        now() as unpacked_at
    from pings
    left join parsed_versions
        on pings.version = parsed_versions.version
)

select * from final
