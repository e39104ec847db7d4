"""Lever's applications, offers, postings and people as streams: their columns and where they are read.

Belongs here: declarations only. How parents, children and deletes go together is in ``lever.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from meltano_assets.clients.policy import BrokenAnswerError
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.pages import Page
from meltano_assets.sources.rest import (
    Endpoint,
    Next,
    Params,
    Parents,
    unix_milliseconds,
)
from meltano_assets.streams import (
    Column,
    ColumnType,
    Disposition,
    Stream,
    Sweep,
)

#: A change shows in the lists a moment after the time that it carries.
LOOKBACK = timedelta(minutes=10)
#: What Lever allows an account.
REQUESTS_PER_SECOND = 10
#: So many offers are asked for at once; more would only wait for the budget.
WORKERS = 4


@dataclass(frozen=True, slots=True)
class _OffsetTokens:
    """The answer's ``next`` goes back as ``offset``; without it there must be no more."""

    def first(self) -> Params:
        return {"limit": 100}

    def following(self, page: Page, sent: Params) -> Next | None:
        token = page.get("next")
        if isinstance(token, str) and token:
            return Next({**sent, "offset": token})
        if page.get("hasNext"):
            raise BrokenAnswerError("more is promised, but next does not say where")
        return None


_PAGING = _OffsetTokens()


def _endpoint(path: str, start: str | None = None, **params: str) -> Endpoint:
    return Endpoint(
        path, records="data", paging=_PAGING, params=params, start=start, time=unix_milliseconds
    )


def _fields(kind: ColumnType, *fields: str, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(column_name(name), kind, field=name, is_pii=is_pii) for name in fields)


def _column(field: str, kind: ColumnType, description: str, *, is_pii: bool = False) -> Column:
    return Column(column_name(field), kind, description, field=field, is_pii=is_pii)


def _changing(name: str, description: str, *columns: Column, path: str | None = None) -> Stream:
    return Stream(
        source="lever",
        name=name,
        description=description,
        columns=(Column("id", "text"), *columns),
        primary_key=("id",),
        replication_key="updated_at",
        lookback=LOOKBACK,
        options={"endpoint": _endpoint(path or f"/{name}", start="updated_at_start")},
        # Deleted opportunities are listed.
        sweep=None if "opportunities" in (path or name) else Sweep(),
    )


def _list(name: str, description: str, *columns: Column, key: str = "id", **params: str) -> Stream:
    disposition: Disposition = "replace"
    return Stream(
        source="lever",
        name=name,
        description=description,
        columns=columns,
        primary_key=(key,),
        disposition=disposition,
        options={"endpoint": _endpoint(f"/{name}", None, **params)},
    )


#: Where an opportunity ended, unpacked from ``archived``.
_ARCHIVED = (
    _column("archivedAt", "timestamptz", "When it was archived; null while it is active."),
    _column("archiveReasonId", "text", "Why, see archive_reasons."),
)

OPPORTUNITIES = _changing(
    "opportunities",
    "One person's way through hiring for one or more postings.",
    _column("name", "text", "The person.", is_pii=True),
    _column("contact", "text", "Identifies the person over all opportunities."),
    _column("headline", "text", "What the person does.", is_pii=True),
    _column("stage", "text", "Where in the pipeline, see stages."),
    _column("stageChanges", "jsonb", "Earlier and present stages, each with its time."),
    *_fields("text", "confidentiality", "origin", "owner", "sourcedBy"),
    *_fields("text", "location", is_pii=True),
    *_fields("jsonb", "phones", "emails", "links", is_pii=True),
    *_fields("jsonb", "tags", "sources", "followers", "applications", "urls"),
    *_ARCHIVED,
    *_fields("timestamptz", "createdAt", "updatedAt", "lastInteractionAt", "lastAdvancedAt"),
    _column("snoozedUntil", "timestamptz", "Hidden from recruiters until then."),
    _column("dataProtection", "jsonb", "What the person allows, and how long."),
    *_fields("boolean", "isAnonymized"),
    *_fields("text", "opportunityLocation"),
)

CANDIDATES = _changing(
    "candidates",
    "The same opportunities without personal data, in the shape of the older candidates API.",
    *_fields("text", "stageId", "stageText"),
    _column("createdAt", "timestamptz", "When the candidate came."),
    *_ARCHIVED,
    *_fields("text", "archiveReasonText", "origin"),
    *_fields("jsonb", "sources", "applications"),
    _column("pipelineStageIds", "jsonb", "Stages in their order."),
    _column("pipelineStageNames", "jsonb", "Their names, at the same places."),
    _column("pipelineStageTimestamps", "jsonb", "When each was entered, at the same places."),
    *_fields("timestamptz", "updatedAt"),
    path="/opportunities",
)

DELETED_OPPORTUNITIES = Stream(
    source="lever",
    name="deleted_opportunities",
    description="Opportunities that are gone, and when they went.",
    columns=(
        Column("id", "text"),
        _column("deletedAt", "timestamptz", "When it was deleted."),
        _column("deletedBy", "text", "The user who did it."),
    ),
    primary_key=("id",),
    replication_key="deleted_at",
    lookback=LOOKBACK,
    options={"endpoint": _endpoint("/opportunities/deleted", start="deleted_at_start")},
)


def _child(name: str, endpoint: Endpoint, description: str, *columns: Column) -> Stream:
    return Stream(
        source="lever",
        name=name,
        description=description,
        columns=(
            Column("id", "text"),
            _column("opportunityId", "text", "The opportunity that it belongs to."),
            *columns,
            _column("opportunityUpdatedAt", "timestamptz", "When that opportunity last changed."),
        ),
        primary_key=("id",),
        replication_key="opportunity_updated_at",
        lookback=LOOKBACK,
        options={"endpoint": endpoint},
        sweep=Sweep(),
    )


APPLICATIONS = _child(
    "applications",
    _endpoint("/opportunities", start="updated_at_start", expand="applications"),
    "Applications for a posting: by the person, by referral or by a recruiter.",
    *_fields("text", "candidateId", "type", "posting", "postingOwner", "postingHiringManager"),
    _column("user", "text", "Who applied in the person's name."),
    *_fields("text", "name", "company", "email", "comments", is_pii=True),
    *_fields("jsonb", "phone", "links", "customQuestions", is_pii=True),
    _column("requisitionForHire", "jsonb", "The requisition that a hire filled."),
    *_ARCHIVED,
    *_fields("timestamptz", "createdAt"),
)

OFFERS = _child(
    "offers",
    replace(
        _endpoint("/opportunities/{opportunity_id}/offers"),
        parents=Parents(
            _endpoint("/opportunities", start="updated_at_start"),
            (
                Column("opportunity_id", "text", field="id"),
                Column("opportunity_updated_at", "timestamptz", field="updatedAt"),
            ),
            workers=WORKERS,
        ),
    ),
    "Offers of employment with their terms.",
    *_fields("text", "status", "creator", "posting"),
    _column("fields", "jsonb", "The offer's form: salary, start date and so on.", is_pii=True),
    *_fields("jsonb", "signatures", "sentDocument", "signedDocument", is_pii=True),
    *_fields("text", "approved"),
    *_fields("timestamptz", "createdAt", "approvedAt", "sentAt"),
)

POSTINGS = _changing(
    "postings",
    "Jobs as they are advertised.",
    _column("text", "text", "The job's title."),
    *_fields("text", "state", "user", "owner", "hiringManager", "confidentiality"),
    *_fields("text", "team", "department", "location", "commitment", "level"),
    *_fields("text", "country", "workplaceType", "reqCode"),
    *_fields("jsonb", "categories", "tags", "content", "followers", "requisitionCodes"),
    *_fields("jsonb", "salaryRange", "distributionChannels", "urls"),
    *_fields("timestamptz", "createdAt", "updatedAt"),
)

REQUISITIONS = _changing(
    "requisitions",
    "Positions that may be filled, with their head count and pay.",
    *_fields("text", "requisitionCode", "name", "status", "employmentStatus", "confidentiality"),
    *_fields("text", "creator", "owner", "hiringManager", "team", "department", "location"),
    *_fields("boolean", "backfill"),
    _column("headcountTotal", "text", "How many may be hired, or ``unlimited``."),
    *_fields("integer", "headcountHired"),
    *_fields("jsonb", "compensationBand", "approval", "customFields", is_pii=True),
    *_fields("text", "internalNotes", is_pii=True),
    *_fields("jsonb", "offerIds", "postings"),
    *_fields("timestamptz", "createdAt", "updatedAt", "closedAt"),
)

STAGES = _list(
    "stages",
    "The steps of the hiring pipeline.",
    Column("id", "text"),
    Column("text", "text", "The stage's name."),
)

ARCHIVE_REASONS = _list(
    "archive_reasons",
    "Why opportunities end; a hire is one of them.",
    Column("id", "text"),
    Column("text", "text", "The reason."),
    Column("status", "text"),
    Column("type", "text", "``hired`` or ``non-hired``."),
)

SOURCES_OF_CANDIDATES = _list(
    "sources",
    "Where candidates come from, with their number.",
    Column("text", "text", "The source's name."),
    Column("count", "bigint", "How many candidates came from there."),
    key="text",
)

USERS = _list(
    "users",
    "Recruiters, interviewers and hiring managers, deactivated ones too.",
    Column("id", "text"),
    *_fields("text", "name", "username", "email", "photo", is_pii=True),
    *_fields("text", "accessRole", "jobTitle", "externalDirectoryId"),
    *_fields("text", "managerId"),
    *_fields("jsonb", "linkedContactIds"),
    *_fields("timestamptz", "createdAt", "deactivatedAt"),
    includeDeactivated="true",
)

STREAMS: tuple[Stream, ...] = (
    OPPORTUNITIES,
    CANDIDATES,
    APPLICATIONS,
    OFFERS,
    POSTINGS,
    REQUISITIONS,
    STAGES,
    ARCHIVE_REASONS,
    SOURCES_OF_CANDIDATES,
    USERS,
    DELETED_OPPORTUNITIES,
)
