"""The standard fields of Salesforce's users beyond those that every object shares.

A user's settings are fields by the score, each with a common beginning.
"""

from __future__ import annotations

PERMISSIONS = (
    "AvantgoUser CallCenterAutoLogin ChatterAnswersUser InteractionUser MarketingUser "
    "MobileUser OfflineUser SFContentUser SupportUser"
)
PREFERENCES = (
    "ActivityRemindersPopup ApexPagesDeveloperMode CacheDiagnostics DisCommentAfterLikeEmail "
    "DisMentionsCommentEmail DisProfPostCommentEmail DisableAllFeedsEmail DisableBookmarkEmail "
    "DisableChangeCommentEmail DisableEndorsementEmail DisableFileShareNotificationsForApi "
    "DisableFollowersEmail DisableLaterCommentEmail DisableLikeEmail DisableMentionsPostEmail "
    "DisableMessageEmail DisableProfilePostEmail DisableSharePostEmail EnableAutoSubForFeeds "
    "EventRemindersCheckboxDefault HideBiggerPhotoCallout HideCSNDesktopTask "
    "HideCSNGetChatterMobileTask HideChatterOnboardingSplash "
    "HideEndUserOnboardingAssistantModal HideLightningMigrationModal HideS1BrowserUI "
    "HideSecondChatterOnboardingSplash HideSfxWelcomeMat LightningExperiencePreferred "
    "PathAssistantCollapsed PreviewLightning ReminderSoundOff ShowCityToExternalUsers "
    "ShowCityToGuestUsers ShowCountryToExternalUsers ShowCountryToGuestUsers "
    "ShowEmailToExternalUsers ShowEmailToGuestUsers ShowFaxToExternalUsers ShowFaxToGuestUsers "
    "ShowManagerToExternalUsers ShowManagerToGuestUsers ShowMobilePhoneToExternalUsers "
    "ShowMobilePhoneToGuestUsers ShowPostalCodeToExternalUsers ShowPostalCodeToGuestUsers "
    "ShowProfilePicToGuestUsers ShowStateToExternalUsers ShowStateToGuestUsers "
    "ShowStreetAddressToExternalUsers ShowStreetAddressToGuestUsers ShowTitleToExternalUsers "
    "ShowTitleToGuestUsers ShowWorkPhoneToExternalUsers ShowWorkPhoneToGuestUsers "
    "SortFeedByComment TaskRemindersCheckboxDefault"
)
FLAGS = (
    "EmailPreferencesAutoBcc EmailPreferencesAutoBccStayInTouch EmailPreferencesStayInTouchReminder "
    "ForecastEnabled IsPortalEnabled IsPrmSuperUser IsProfilePhotoActive ReceivesAdminInfoEmails "
    "ReceivesInfoEmails"
)
PERSONAL = (
    "AboutMe Alias CommunityNickname EmployeeNumber Extension FederationIdentifier FullPhotoUrl "
    "MediumPhotoUrl MiddleName SenderEmail SenderName Signature SmallPhotoUrl StayInTouchNote "
    "StayInTouchSignature StayInTouchSubject Suffix"
)
TEXTS = (
    "AccountId BadgeText BannerPhotoUrl CallCenterId CompanyName ContactId "
    "DefaultGroupNotificationFrequency DelegatedApproverId DigestFrequency Division EmailEncodingKey "
    "LanguageLocaleKey LocaleSidKey PortalRole ProfileId TimeZoneSidKey UserType"
)
TIMES = (
    "LastLoginDate LastPasswordChangeDate OfflineTrialExpirationDate OfflinePdaTrialExpirationDate"
)


def flags() -> str:
    """All fields that are true or false, between blanks."""
    permissions = (f"UserPermissions{name}" for name in PERMISSIONS.split())
    preferences = (f"UserPreferences{name}" for name in PREFERENCES.split())
    return " ".join([FLAGS, *permissions, *preferences])
