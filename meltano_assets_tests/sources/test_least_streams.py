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
#: The vendor's own fields of each object in 2018, in lower case; an organisation's come besides.
FIELDS = {
    "Account": """billingcity billingcountry billingcountrycode billinggeocodeaccuracy billingpostalcode
        billingstate billingstatecode billingstreet createdbyid description id industry
        jigsawcompanyid lastmodifiedbyid masterrecordid name ownerid parentid photourl
        recordtypeid shippingcity shippingcountry shippingcountrycode shippinggeocodeaccuracy
        shippingpostalcode shippingstate shippingstatecode shippingstreet type website
        lastactivitydate billinglatitude billinglongitude shippinglatitude shippinglongitude
        createddate lastmodifieddate lastreferenceddate lastvieweddate systemmodstamp isdeleted
        ispartner numberofemployees""",
    "Campaign": """actualcost amountallopportunities amountwonopportunities budgetedcost expectedresponse
        expectedrevenue numbersent campaignmemberrecordtypeid createdbyid description id
        lastmodifiedbyid name ownerid parentid status type createddate lastmodifieddate
        lastreferenceddate lastvieweddate systemmodstamp enddate lastactivitydate startdate
        isactive isdeleted numberofcontacts numberofconvertedleads numberofleads
        numberofopportunities numberofresponses numberofwonopportunities""",
    "CampaignMember": """campaignid city companyoraccount contactid country createdbyid description id
        lastmodifiedbyid leadid leadorcontactid leadorcontactownerid leadsource salutation state
        status title type createddate lastmodifieddate systemmodstamp donotcall hasoptedoutofemail
        hasoptedoutoffax hasresponded isdeleted firstrespondeddate""",
    "Contact": """accountid createdbyid department emailbouncedreason id jigsawcontactid lastmodifiedbyid
        leadsource mailingcity mailingcountry mailingcountrycode mailinggeocodeaccuracy
        mailingpostalcode mailingstate mailingstatecode mailingstreet masterrecordid mobilephone
        name ownerid photourl recordtypeid reportstoid salutation suffix title createddate
        emailbounceddate lastcurequestdate lastcuupdatedate lastmodifieddate lastreferenceddate
        lastvieweddate systemmodstamp mailinglatitude mailinglongitude donotcall
        hasoptedoutofemail isdeleted isemailbounced lastactivitydate""",
    "Lead": """city company convertedaccountid convertedcontactid convertedopportunityid country
        countrycode createdbyid emailbouncedreason geocodeaccuracy id industry jigsawcontactid
        lastmodifiedbyid leadsource masterrecordid name ownerid photourl postalcode recordtypeid
        salutation state statecode status street suffix title converteddate lastactivitydate
        createddate emailbounceddate lastmodifieddate lastreferenceddate lastvieweddate
        systemmodstamp latitude longitude donotcall hasoptedoutofemail isconverted isdeleted
        isunreadbyowner numberofemployees""",
    "Opportunity": """accountid campaignid createdbyid description fiscal forecastcategory forecastcategoryname
        id lastmodifiedbyid leadsource name nextstep ownerid pricebook2id recordtypeid stagename
        syncedquoteid type amount probability hasopenactivity hasopportunitylineitem
        hasoverduetask isclosed isdeleted iswon closedate createddate lastactivitydate
        lastmodifieddate lastreferenceddate lastvieweddate systemmodstamp fiscalquarter fiscalyear""",
    "OpportunityContactRole": """contactid createdbyid id lastmodifiedbyid opportunityid role createddate lastmodifieddate
        systemmodstamp isdeleted isprimary""",
    "OpportunityHistory": """amount createdbyid expectedrevenue forecastcategory id opportunityid probability stagename
        closedate createddate systemmodstamp isdeleted""",
    "OpportunityLineItem": """createdbyid description id lastmodifiedbyid name opportunityid pricebookentryid product2id
        productcode createddate lastmodifieddate systemmodstamp isdeleted listprice quantity
        totalprice unitprice servicedate sortorder""",
    "OpportunityStage": """apiname createdbyid description forecastcategory forecastcategoryname id lastmodifiedbyid
        masterlabel createddate lastmodifieddate systemmodstamp defaultprobability isactive
        isclosed iswon sortorder""",
    "PricebookEntry": """createdbyid id lastmodifiedbyid name pricebook2id product2id productcode createddate
        lastmodifieddate systemmodstamp isactive isdeleted usestandardprice unitprice""",
    "Product2": """createdbyid description family id lastmodifiedbyid name productcode createddate
        lastmodifieddate lastreferenceddate lastvieweddate systemmodstamp isactive isdeleted""",
    "RecordType": """businessprocessid createdbyid description developername id lastmodifiedbyid name
        namespaceprefix sobjecttype createddate lastmodifieddate systemmodstamp isactive""",
    "User": """aboutme accountid alias badgetext bannerphotourl callcenterid city communitynickname
        companyname contactid country countrycode createdbyid defaultgroupnotificationfrequency
        delegatedapproverid department digestfrequency division email emailencodingkey
        employeenumber extension federationidentifier fullphotourl geocodeaccuracy id
        languagelocalekey lastmodifiedbyid localesidkey managerid mediumphotourl middlename name
        portalrole postalcode profileid senderemail sendername signature smallphotourl state
        statecode stayintouchnote stayintouchsignature stayintouchsubject street suffix
        timezonesidkey title userroleid usertype username emailpreferencesautobcc
        emailpreferencesautobccstayintouch emailpreferencesstayintouchreminder forecastenabled
        isactive isportalenabled isprmsuperuser isprofilephotoactive receivesadmininfoemails
        receivesinfoemails userpermissionsavantgouser userpermissionscallcenterautologin
        userpermissionschatteranswersuser userpermissionsinteractionuser
        userpermissionsmarketinguser userpermissionsmobileuser userpermissionsofflineuser
        userpermissionssfcontentuser userpermissionssupportuser
        userpreferencesactivityreminderspopup userpreferencesapexpagesdevelopermode
        userpreferencescachediagnostics userpreferencesdiscommentafterlikeemail
        userpreferencesdismentionscommentemail userpreferencesdisprofpostcommentemail
        userpreferencesdisableallfeedsemail userpreferencesdisablebookmarkemail
        userpreferencesdisablechangecommentemail userpreferencesdisableendorsementemail
        userpreferencesdisablefilesharenotificationsforapi userpreferencesdisablefollowersemail
        userpreferencesdisablelatercommentemail userpreferencesdisablelikeemail
        userpreferencesdisablementionspostemail userpreferencesdisablemessageemail
        userpreferencesdisableprofilepostemail userpreferencesdisablesharepostemail
        userpreferencesenableautosubforfeeds userpreferenceseventreminderscheckboxdefault
        userpreferenceshidebiggerphotocallout userpreferenceshidecsndesktoptask
        userpreferenceshidecsngetchattermobiletask userpreferenceshidechatteronboardingsplash
        userpreferenceshideenduseronboardingassistantmodal
        userpreferenceshidelightningmigrationmodal userpreferenceshides1browserui
        userpreferenceshidesecondchatteronboardingsplash userpreferenceshidesfxwelcomemat
        userpreferenceslightningexperiencepreferred userpreferencespathassistantcollapsed
        userpreferencespreviewlightning userpreferencesremindersoundoff
        userpreferencesshowcitytoexternalusers userpreferencesshowcitytoguestusers
        userpreferencesshowcountrytoexternalusers userpreferencesshowcountrytoguestusers
        userpreferencesshowemailtoexternalusers userpreferencesshowemailtoguestusers
        userpreferencesshowfaxtoexternalusers userpreferencesshowfaxtoguestusers
        userpreferencesshowmanagertoexternalusers userpreferencesshowmanagertoguestusers
        userpreferencesshowmobilephonetoexternalusers userpreferencesshowmobilephonetoguestusers
        userpreferencesshowpostalcodetoexternalusers userpreferencesshowpostalcodetoguestusers
        userpreferencesshowprofilepictoguestusers userpreferencesshowstatetoexternalusers
        userpreferencesshowstatetoguestusers userpreferencesshowstreetaddresstoexternalusers
        userpreferencesshowstreetaddresstoguestusers userpreferencesshowtitletoexternalusers
        userpreferencesshowtitletoguestusers userpreferencesshowworkphonetoexternalusers
        userpreferencesshowworkphonetoguestusers userpreferencessortfeedbycomment
        userpreferencestaskreminderscheckboxdefault createddate lastlogindate lastmodifieddate
        lastpasswordchangedate lastreferenceddate lastvieweddate offlinepdatrialexpirationdate
        offlinetrialexpirationdate systemmodstamp latitude longitude""",
    "UserRole": """caseaccessforaccountowner contactaccessforaccountowner developername forecastuserid id
        lastmodifiedbyid name opportunityaccessforaccountowner parentroleid portalaccountid
        portalaccountownerid portalrole portaltype rollupdescription lastmodifieddate
        systemmodstamp mayforecastmanagershare""",
}
MONEY = re.compile("price|amount|revenue|cost|mrr|tcv|balance|total")
BY_NAME = {source.name: source for source in SOURCES}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_that_was_read_in_2018_is_a_stream(name: str) -> None:
    declared = {str(stream.options["object"]) for stream in BY_NAME[name].streams}
    assert set(OBJECTS[name].split()) <= declared


@pytest.mark.parametrize("name", NAMES)
def test_every_table_that_was_filled_in_2018_is_a_stream(name: str) -> None:
    assert set(NAMES[name].split()) <= {stream.name for stream in BY_NAME[name].streams}


@pytest.mark.parametrize("name", FIELDS)
def test_every_standard_field_that_was_read_in_2018_is_a_column(name: str) -> None:
    [stream] = [s for s in BY_NAME["salesforce"].streams if s.options["object"] == name]
    fields = {column.vendor_field.lower(): column.type for column in stream.columns}
    assert set(FIELDS[name].split()) <= fields.keys()
    dates = {field: kind for field, kind in fields.items() if field in FIELDS[name].split()}
    assert all(kind != "text" for field, kind in dates.items() if field.endswith("date"))


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
