with recursive

domains as (
    select domain
    from {{ ref('int_domains__known') }}
    where domain ~ '(^|[.])xn--'
),

labels as (
    select
        domains.domain,
        label.position,
        label.label
    from domains
    cross join
        lateral unnest(string_to_array(domains.domain, '.')) with ordinality
            as label (label, position)
),

-- Punycode (RFC 3492): plain characters, a hyphen, then digits that say where the others stand.
encoded as (
    select distinct
        label,
        coalesce(substring(label from '^xn--(.*)-[^-]*$'), '') as plain,
        substring(label from '^xn--(?:.*-)?([^-]*)$') as digits
    from labels
    where label ~ '^xn--(?:.*-)?[a-z0-9]+$'
),

-- One digit a step. n: the code point; i: where it goes; the rest decides how digits add up.
steps as (
    select
        label,
        plain as decoded,
        digits,
        128::bigint as n,
        0::bigint as i,
        0::bigint as previous_i,
        1::bigint as weight,
        36 as k,
        72::bigint as bias
    from encoded

    union all

    select
        steps.label,
        case
            when digit.is_last and point.is_valid
                then
                    left(steps.decoded, point.place::int)
                    || chr(point.code::int)
                    || substr(steps.decoded, point.place::int + 1)
            else steps.decoded
        end as decoded,
        -- What is no punycode ends here, with digits left.
        case
            when digit.is_last and not point.is_valid then null
            else substr(steps.digits, 2)
        end as digits,
        case when digit.is_last then point.code else steps.n end as n,
        case when digit.is_last then point.place + 1 else digit.i end as i,
        case when digit.is_last then point.place + 1 else steps.previous_i end as previous_i,
        case when digit.is_last then 1 else steps.weight * (36 - digit.threshold) end as weight,
        case when digit.is_last then 36 else steps.k + 36 end as k,
        case when digit.is_last then point.bias else steps.bias end as bias
    from steps
    cross join
        lateral (
            select
                ascii(steps.digits)
                - case when steps.digits < 'a' collate "C" then 22 else 97 end as value,
                greatest(1, least(26, steps.k - steps.bias)) as threshold
        ) as read
    cross join
        lateral (
            select
                read.threshold,
                steps.i + read.value * steps.weight as i,
                read.value < read.threshold as is_last,
                length(steps.decoded) + 1 as length
        ) as digit
    cross join
        lateral (
            select
                (digit.i - steps.previous_i)
                / case when steps.previous_i = 0 then 700 else 2 end as delta
        ) as halved
    cross join
        lateral (select halved.delta + halved.delta / digit.length as delta) as spread
    cross join
        lateral (
            select
                case
                    when spread.delta <= 455 then 0
                    when spread.delta / 35 <= 455 then 1
                    when spread.delta / 1225 <= 455 then 2
                    else 3
                end as rounds
        ) as rounds
    cross join
        lateral (
            select spread.delta / (35 ^ rounds.rounds)::bigint as delta
        ) as damped
    cross join
        lateral (
            select
                steps.n + digit.i / digit.length as code,
                digit.i % digit.length as place,
                36 * rounds.rounds + 36 * damped.delta / (damped.delta + 38) as bias,
                steps.n + digit.i / digit.length <= 1114111
                and steps.n + digit.i / digit.length not between 55296 and 57343 as is_valid
        ) as point
    where steps.digits <> '' and steps.weight < 1000000000
),

decoded as (
    select
        label,
        decoded
    from steps
    where digits = ''
),

final as (
    select
        labels.domain,
        string_agg(
            coalesce(decoded.decoded, labels.label), '.' order by labels.position
        ) as unicode_domain
    from labels
    left join decoded
        on labels.label = decoded.label
    group by labels.domain
)

select * from final
