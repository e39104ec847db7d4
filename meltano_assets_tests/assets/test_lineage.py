"""Column lineage of dbt models (D5), read off their SQL."""

from __future__ import annotations

import time

import dagster as dg
import pytest

from meltano_assets.assets.lineage import (
    column_lineage,
    lineage_metadata,
    lost_references,
    relation_name,
)


@pytest.mark.parametrize(
    ("sql", "lineage"),
    [
        ("select a, b as c from d.s.t", {"a": [("d.s.t", "a")], "c": [("d.s.t", "b")]}),
        (
            """with source as (select * from "d"."S"."t"), final as (select lower(a) as x from source)
            select * from final""",
            {"x": [("d.s.t", "a")]},
        ),
        (
            """select t.a + u.b as total, u.* from d.s.t as t join (select b, e from d.s.u) as u
            on u.b = t.b""",
            {
                "total": [("d.s.t", "a"), ("d.s.u", "b")],
                "b": [("d.s.u", "b")],
                "e": [("d.s.u", "e")],
            },
        ),
        (
            """with both as (select a, 1 as n from d.s.t union all select b, c from d.s.u)
            select a, n from both""",
            {"a": [("d.s.t", "a"), ("d.s.u", "b")], "n": [("d.s.u", "c")]},
        ),
        (
            """select case when a > (select max(m) from d.s.v) then 'x' end as flag, count(*) as n
            from d.s.t group by 1""",
            {"flag": [("d.s.t", "a"), ("d.s.v", "m")], "n": []},
        ),
        (
            "select row_number() over (partition by a order by b) as place from d.s.t",
            {"place": [("d.s.t", "a"), ("d.s.t", "b")]},
        ),
        (
            """with recursive up as (
                select id, parent from d.s.t union all
                select up.id, t.parent from up join d.s.t as t on t.id = up.parent
            ) select * from up""",
            {"id": [("d.s.t", "id")], "parent": [("d.s.t", "parent")]},
        ),
        (
            """select m.value ->> 'x' as x, l.y, n.n, v.k, u.label from d.s.t as t
            cross join lateral jsonb_array_elements(t.mails) as m (value)
            cross join lateral (select t.a + 1 as y, t.b) as l
            cross join lateral generate_series(1, l.y) as n (n)
            cross join lateral unnest(string_to_array(t.domain, '.')) with ordinality as u (label, n)
            cross join (values ('a')) as v (k)""",
            {
                "x": [("d.s.t", "mails")],
                "y": [("d.s.t", "a")],
                "n": [("d.s.t", "a")],
                "k": [],
                "label": [("d.s.t", "domain")],
            },
        ),
        (
            "select (select u.z from d.s.u as u where u.i = t.q) as z from d.s.t as t",
            {"z": [("d.s.t", "q"), ("d.s.u", "i"), ("d.s.u", "z")]},
        ),
        ("select a from d.s.t, d.s.u", {"a": []}),
        ("this is no SQL at all (", {}),
    ],
)
def test_a_column_comes_from_where_its_sql_says(
    sql: str, lineage: dict[str, list[tuple[str, str]]]
) -> None:
    assert column_lineage(sql) == lineage


def test_what_no_text_tells_is_lost_and_said_to_be() -> None:
    assert lost_references("select a, t.b from d.s.t as t, d.s.u") == {"a"}
    assert lost_references("select t.a, x.b from d.s.t as t") == {"b"}
    assert lost_references("select t.a, count(*) from d.s.t as t") == set()
    assert lost_references("this is no SQL at all (", ["a"]) == {"a"}


def test_a_star_of_a_lateral_select_is_looked_through() -> None:
    """As in an incremental run that looks up each month by itself."""
    sql = """with latest as (
        select p.*, t.month from d.s.t as t
        cross join lateral (select * from d.s.u as u where u.i = t.i limit 1) as p
    ) select latest.host, latest.month from latest"""
    assert column_lineage(sql) == {"host": [("d.s.u", "host")], "month": [("d.s.t", "month")]}


def test_columns_behind_a_star_are_those_of_the_result() -> None:
    found = column_lineage("select * from d.s.t where a > 1", ["a", "b"])
    assert found == {"a": [("d.s.t", "a")], "b": [("d.s.t", "b")]}


def test_a_wide_model_takes_no_time() -> None:
    columns = ", ".join(f"coalesce(c{n}, '') as x{n}" for n in range(500))
    sql = f"with source as (select * from d.s.t), final as (select {columns} from source) select * from final"
    began = time.monotonic()
    found = column_lineage(sql)
    assert time.monotonic() - began < 5  # 0.1 s on an idle machine
    assert found["x499"] == [("d.s.t", "c499")]


def test_the_ui_gets_the_parents_assets() -> None:
    key = dg.AssetKey(["zendesk", "tickets"])
    parents = {relation_name(('"W"', "zendesk", "tickets")): key}
    found = lineage_metadata(
        'select id as ticket_id, 1 as one from "w"."zendesk"."tickets"',
        parents,
        ["ticket_id", "one"],
    )
    lineage = found["dagster/column_lineage"]
    assert lineage.deps_by_column == {
        "ticket_id": [dg.TableColumnDep(asset_key=key, column_name="id")]
    }
    assert lineage_metadata("select 1 as one", parents, ["one"]) == {}
