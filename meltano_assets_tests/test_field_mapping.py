"""Custom fields and the common data model (D2): the file, its check, proposals without help."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from meltano_assets import field_mapping
from meltano_assets.concepts import CONCEPTS
from meltano_assets.environment import dbt_project_directory
from meltano_assets.errors import FatalError
from meltano_assets.scaffold import model_name
from meltano_assets.sources.salesforce import SALESFORCE
from meltano_assets.sources.salesforce_packages import PACKAGE_STREAMS

SHIPPED = field_mapping.read(dbt_project_directory() / field_mapping.FILE)

#: What a team with other habits calls the fields: another name, another label.
OTHER_NAMES: dict[tuple[str, str], tuple[str, str, str]] = {
    ("opportunities", "sales_accepted_date"): ("SAO_Date__c", "SAO Date", "date"),
    ("opportunities", "sales_qualified_date"): ("Qualified_On__c", "Sales qualified on", "date"),
    ("opportunities", "sales_qualified_source"): ("Sourced__c", "Pipeline sourced by", "picklist"),
    ("opportunities", "total_contract_value"): ("TCV__c", "Total Contract Value", "currency"),
    ("opportunities", "incremental_acv"): ("acme__Net_New_ARR__c", "Net new ARR", "currency"),
    ("opportunities", "acv"): ("AnnualValue__c", "Annual contract value", "currency"),
    ("opportunities", "sales_segment"): ("Deal_Segment__c", "Segment", "picklist"),
    ("opportunities", "reason_for_loss"): ("Lost_Because__c", "Closed lost reason", "picklist"),
    ("opportunities", "currency_code"): ("CurrencyIsoCode", "Currency", "picklist"),
    ("accounts", "sales_segment"): ("Market_Segment__c", "Market segment", "picklist"),
    ("accounts", "is_using_ce"): ("Free_Edition__c", "Uses free edition", "boolean"),
    ("accounts", "active_ce_user_count"): ("Free_Users__c", "Free users", "double"),
    ("leads", "marketing_qualified_date"): ("Became_MQL__c", "MQL date", "date"),
}
VALUES = {
    "sales_qualified_source": ["SDR generated", "AE generated", "Web direct"],
    "sales_segment": ["SMB", "Mid Market", "Enterprise"],
    "reason_for_loss": ["Price", "No decision", "Lost to competitor"],
}
#: Fields that look like something and are not.
DECOYS = [
    ("Opportunity", "Accepted_Terms__c", "Accepted terms", "boolean", []),
    ("Opportunity", "Next_Step_Date__c", "Next step date", "date", []),
    ("Opportunity", "Source_System__c", "Source", "picklist", ["CRM", "Import"]),
    ("Opportunity", "Renewal_ACV__c", "Renewal ACV", "currency", []),
    ("Opportunity", "ExpectedRevenue", "Expected Amount", "currency", []),
    ("Opportunity", "CreatedDate", "Created Date", "datetime", []),
    ("Account", "Segment_Reviewed__c", "Segment reviewed", "boolean", []),
    ("Account", "AnnualRevenue", "Annual Revenue", "currency", []),
    ("Lead", "ConvertedDate", "Converted Date", "date", []),
]


class OtherOrganisation:
    """Describes an organisation in which nothing has the names that are shipped."""

    def __init__(self) -> None:
        objects = {concept.stream: concept.object for concept in CONCEPTS}
        self.fields: dict[str, list[dict[str, object]]] = {}
        named = [
            (objects[stream], name, label, kind, VALUES.get(concept, []))
            for (stream, concept), (name, label, kind) in OTHER_NAMES.items()
        ]
        for object_name, name, label, kind, values in [*DECOYS, *named]:
            listed = [{"value": value, "active": True} for value in values]
            self.fields.setdefault(object_name, []).append(
                {"name": name, "label": label, "type": kind, "picklistValues": listed}
            )
        self.asked: list[str] = []

    def describe(self, object_name: str) -> dict[str, object]:
        """Fields; no such object is told as Salesforce tells it."""
        if object_name not in self.fields:
            raise FatalError("404 NOT_FOUND: The requested resource does not exist")
        return {"fields": self.fields[object_name]}

    def query(self, soql: str) -> Iterator[list[dict[str, object]]]:
        """Two records; only the dates are filled."""
        self.asked.append(soql)
        names = soql.removeprefix("SELECT ").split(" FROM ")[0].split(", ")
        record: dict[str, object] = {
            name: "2026-01-01" if "Date" in name or "On" in name else None for name in names
        }
        yield [record, record]


def test_everything_of_another_organisation_is_proposed_without_help() -> None:
    organisation = OtherOrganisation()
    nothing = {stream: {} for stream in SHIPPED}  # type: ignore[var-annotated]
    suggestions = field_mapping.suggest(nothing, organisation)
    mapped = field_mapping.accepted(nothing, suggestions)
    found = {
        (stream, name): field for stream, fields in mapped.items() for name, field in fields.items()
    }
    assert found == {place: names[0] for place, names in OTHER_NAMES.items()}
    assert len(organisation.asked) == 3, "each object's values are asked for once"


def test_only_what_is_gone_or_unmapped_is_proposed() -> None:
    organisation = OtherOrganisation()
    kept = {"opportunities": {"acv": "Renewal_ACV__c", "reason_for_loss": None}}
    suggestions = field_mapping.suggest(kept, organisation)
    proposed = {(s.concept.stream, s.concept.name): s.field for s in suggestions}
    assert ("opportunities", "acv") not in proposed
    assert ("opportunities", "reason_for_loss") not in proposed, "null is a decision"
    assert "Renewal_ACV__c" not in proposed.values(), "a field in use is not offered again"
    again = field_mapping.suggest(kept, organisation, is_all=True)
    assert {s.field for s in again if s.concept.name == "acv"} == {"AnnualValue__c"}


class Described:
    """An organisation of these opportunity fields: name, label, type; nobody filled any."""

    def __init__(self, *fields: tuple[str, str, str], **more: object) -> None:
        self.fields = [
            {"name": name, "label": label, "type": kind, **more} for name, label, kind in fields
        ]

    def describe(self, object_name: str) -> dict[str, object]:
        """The fields, which deals alone have."""
        return {"fields": self.fields if object_name == "Opportunity" else []}

    def query(self, soql: str) -> Iterator[list[dict[str, object]]]:
        """No records."""
        yield []


@pytest.mark.parametrize(
    ("trap", "right"),
    [
        (("ACV__c", "ACV (DO NOT USE)"), ("Annual_Value__c", "Annual contract value")),
        (("ACV__c", "Don't use: ACV"), ("Yearly__c", "Annual contract value")),
        (("ACV_Old__c", "ACV"), ("acme__Annual_Contract_Value__c", "Jahreswert")),
        (("Legacy_ACV__c", "Annual contract value"), ("ACV__c", "Valeur annuelle")),
    ],
)
def test_a_field_that_is_said_to_be_retired_is_a_trap(
    trap: tuple[str, str], right: tuple[str, str]
) -> None:
    both = Described((*trap, "currency"), (*right, "currency"))
    found = {s.concept.name: s for s in field_mapping.suggest({}, both)}
    assert (found["acv"].field, found["acv"].is_taken) == (right[0], True)
    alone = {s.concept.name: s for s in field_mapping.suggest({}, Described((*trap, "currency")))}
    assert not any(s.is_taken for s in alone.values())
    assert "not to be used any more" in alone["acv"].grounds


def test_suffixes_and_namespaces_are_no_part_of_a_name() -> None:
    names = (
        "Sales_Segment__c",
        "ns__Sales_Segment__c",
        "Sales_Segment__pc",
        "ns__SalesSegment__pc",
    )
    assert {field_mapping.words(name) for name in names} == {"sales segment"}


def test_a_formula_is_told_with_how_it_is_read_anew() -> None:
    mapped = {"opportunities": {"acv": "ACV__c"}}
    formula = Described(("ACV__c", "ACV", "currency"), calculated=True)
    [finding] = [f for f in field_mapping.check(mapped, formula) if f.field]
    assert finding.state == "ok"
    assert "extract salesforce.opportunities --full-refresh" in finding.note


def test_check_names_what_is_gone_of_the_wrong_type_unmapped_and_none() -> None:
    mapped: dict[str, dict[str, str | None]] = {
        "opportunities": {
            "acv": "Old_ACV__c",
            "incremental_acv": "sao_date__c",
            "sales_segment": None,
            "sales_accepted_date": "sao_date__c",
        }
    }
    findings = {
        (f.concept.stream, f.concept.name): f
        for f in field_mapping.check(mapped, OtherOrganisation())
    }
    states = {name: findings["opportunities", name].state for name in mapped["opportunities"]}
    assert states == {
        "acv": "gone",
        "incremental_acv": "wrong type",
        "sales_segment": "none",
        "sales_accepted_date": "ok",
    }
    assert findings["opportunities", "incremental_acv"].note == "is date, needs numeric"
    assert findings["hosts", "version"].state == "unmapped"


def test_the_shipped_mapping_names_every_concept() -> None:
    assert {(s, n) for s, fields in SHIPPED.items() for n in fields} == {
        (c.stream, c.name) for c in CONCEPTS
    }


COMMENTED = """\
# Ours, agreed with sales operations.
opportunities:  # deals
  acv: Old_ACV__c  # renamed in spring
  sales_segment:  # see: wiki
  # Nobody fills it.
  reason_for_loss: null   # so

leads: {marketing_qualified_date: MQL__c} # one
accounts:
"""
REWRITTEN = """\
# Ours, agreed with sales operations.
opportunities:  # deals
  acv: New_ACV__c  # renamed in spring
  sales_segment: Segment__c  # see: wiki
  # Nobody fills it.
  reason_for_loss: null   # so
  # Currency of the amounts; null where the organisation has one currency.
  currency_code: CurrencyIsoCode

leads: {marketing_qualified_date: Became_MQL__c} # one
accounts:
  # Whether the company is known to use the free edition.
  is_using_ce: Free_Edition__c

hosts:
  # Version of the installation.
  version: Version__c
"""


def test_writing_keeps_what_people_wrote_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / field_mapping.FILE
    path.write_text(COMMENTED)
    mapped = field_mapping.read(path)
    mapped["opportunities"] |= {
        "acv": "New_ACV__c",
        "sales_segment": "Segment__c",
        "currency_code": "CurrencyIsoCode",
    }
    mapped["leads"]["marketing_qualified_date"] = "Became_MQL__c"
    mapped["accounts"]["is_using_ce"] = "Free_Edition__c"
    mapped["hosts"]["version"] = "Version__c"
    field_mapping.write(path, mapped)
    assert path.read_text() == REWRITTEN
    field_mapping.write(path, mapped)
    assert path.read_text() == REWRITTEN, "a second time changes nothing"


@pytest.mark.parametrize("text", ["", "# Nothing yet.\n", "opportunities: {}\n", "{leads: {}}\n"])
def test_an_odd_file_is_filled_or_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / field_mapping.FILE
    path.write_text(text)
    mapped = field_mapping.read(path)
    mapped["opportunities"]["acv"] = "ACV__c"
    try:
        field_mapping.write(path, mapped)
    except FatalError as error:
        assert "acv: ACV__c" in str(error.hint)
        assert path.read_text() == text
    else:
        assert field_mapping.read(path) == mapped
        assert text.strip("\n{}").split(":")[0] in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("opportunities: {iacv: X__c}", "opportunities.iacv is unknown"),
        ("deals: {acv: X__c}", "deals is unknown"),
        ("opportunities: {acv: [X__c]}", "write the API name of one field"),
        ("opportunities: {acv: 'X__c; drop table y'}", "write the API name of one field"),
        ("opportunities: X__c", "does not hold a list"),
        ("opportunities:\n  acv: X__c\n  acv: Y__c\n", "line 3: acv stands there twice"),
        ("opportunities: {acv: X__c", "is no YAML at line 1"),
    ],
)
def test_a_wrong_file_is_told_with_what_to_write(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / field_mapping.FILE
    path.write_text(text)
    with pytest.raises(FatalError) as error:
        field_mapping.read(path)
    assert complaint in f"{error.value.message} {error.value.hint}"


def test_mapped_fields_are_read_from_salesforce() -> None:
    mapped: Mapping[str, Mapping[str, str | None]] = {
        "opportunities": {"acv": "ARR__c", "total_contract_value": "Amount", "sales_segment": None}
    }
    streams = {s.name: s for s in SALESFORCE.streams}
    added = field_mapping.mapped_columns(mapped, streams["opportunities"])
    assert [(c.name, c.type, c.vendor_field) for c in added] == [("arr__c", "numeric", "ARR__c")]
    assert field_mapping.mapped_columns(mapped, streams["leads"]) == ()
    columns = json.loads(field_mapping.columns_for_dbt(mapped))
    assert columns == {"opportunities": {"acv": "arr__c", "total_contract_value": "amount"}}


def test_models_name_no_custom_field() -> None:
    models = dbt_project_directory() / "models"
    packages = {model_name(stream) for stream in PACKAGE_STREAMS}
    naming = [
        str(path.relative_to(models))
        for path in models.rglob("*.sql")
        if re.search(r"__c\b", path.read_text())
        # The sync's models carry the names of the fields that they are sent to, staging models
        # of other vendors those that their streams declare.
        and "sync" not in path.parts
        and ("staging" not in path.parts or "salesforce" in path.parts)
        # A package's own fields are the same in every organisation.
        and path.stem not in packages
    ]
    assert not naming
