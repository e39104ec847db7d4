"""X2: the streams are at least those that the 2018 system had, and their types are true."""

from __future__ import annotations

import re

import pytest

from meltano_assets.sources import SOURCES
from meltano_assets.sources.base import Source

OBJECTS = {
    "salesforce": """Account AccountHistory Campaign CampaignMember Contact Lead Opportunity
        OpportunityContactRole OpportunityHistory OpportunityLineItem OpportunityStage
        PricebookEntry Product2 RecordType User UserRole Zuora__CustomerAccount__c
        Zuora__Product__c Zuora__Subscription__c Zuora__SubscriptionProductCharge__c
        zqu__ProductRatePlan__c zqu__ProductRatePlanCharge__c zqu__ProductRatePlanChargeTier__c
        zqu__Quote__c zqu__QuoteRatePlan__c zqu__QuoteRatePlanCharge__c zqu__ZProduct__c""",
    "zuora": """AccountingCode AccountingPeriod Account Amendment CommunicationProfile Contact
        CreditBalanceAdjustment Invoice InvoiceAdjustment InvoiceItem InvoiceItemAdjustment
        InvoicePayment Payment Product ProductRatePlan ProductRatePlanCharge
        ProductRatePlanChargeTier RatePlan RatePlanCharge RatePlanChargeTier Refund
        RefundInvoicePayment Subscription RevenueChargeSummaryItem RevenueEventItem
        RevenueEventItemInvoiceItem RevenueEventItemInvoiceItemAdjustment RevenueScheduleItem
        RevenueScheduleItemInvoiceItem RevenueScheduleItemInvoiceItemAdjustment
        RevenueScheduleInvoiceItem""",
}
NAMES = {
    "zendesk": "tickets",
    "netsuite": """accounts currencies customers departments subsidiaries vendors transactions
        transaction_lines transaction_items expenses applications""",
    "marketo": "leads activities",
    "lever": "opportunities offers",
    "stripe": "charges customers",
    "version": "usage_data version_checks hosts versions",
}
TICKETS = """id requester_id submitter_id assignee_id organization_id group_id forum_topic_id
    problem_id via_followup_source_id ticket_form_id brand_id generated_timestamp url external_id
    type subject raw_subject description priority status recipient collaborator_ids follower_ids
    sharing_agreement_ids followup_ids email_cc_ids macro_ids collaborators tags has_incidents
    allow_channelback is_public due_at created_at updated_at via custom_fields
    satisfaction_rating fields"""
MONEY = re.compile("price|amount|revenue|cost|mrr|tcv|balance|total")
BY_NAME = {source.name: source for source in SOURCES}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_that_was_read_in_2018_is_a_stream(name: str) -> None:
    declared = {str(stream.options["object"]) for stream in BY_NAME[name].streams}
    assert set(OBJECTS[name].split()) <= declared


@pytest.mark.parametrize("name", NAMES)
def test_every_table_that_was_filled_in_2018_is_a_stream(name: str) -> None:
    assert set(NAMES[name].split()) <= {stream.name for stream in BY_NAME[name].streams}


def test_tickets_have_every_column_of_2018_with_times_for_dates() -> None:
    columns = {column.name: column.type for column in BY_NAME["zendesk"].stream("tickets").columns}
    assert set(TICKETS.split()) <= columns.keys()
    assert {columns[name] for name in ("due_at", "created_at", "updated_at")} == {"timestamptz"}
    assert {columns[name] for name in ("tags", "custom_fields", "via")} == {"jsonb"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_moment_is_a_date_or_a_text_and_no_money_a_float(source: Source) -> None:
    for stream, column in ((s, c) for s in source.streams for c in s.columns):
        where = f"{stream.key}.{column.name}"
        if column.name in ("created_at", "updated_at", "created_date", "system_modstamp"):
            assert column.type in ("timestamptz", "timestamp"), where
        if MONEY.search(column.name):
            assert column.type != "double precision", where
