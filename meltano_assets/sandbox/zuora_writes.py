"""What clients write into Zuora record by record: the CRUD calls, the actions, accounts and contacts.

What a record of the catalogue, an account or a contact says is judged by the tenant's schema. CRUD names
fields with a capital, the later calls with a small letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_objects import find, name_of
from meltano_assets.sandbox.zuora_schema import RELATIONS, ObjectType, object_types
from meltano_assets.sandbox.zuora_tenant import TenantRecords, typed

#: Objects that CRUD calls make, with what a new record must say.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Account": ("Name", "Currency"),
    "Contact": ("AccountId", "FirstName", "LastName"),
    "CommunicationProfile": ("ProfileName",),
    "Product": ("Name", "EffectiveStartDate", "EffectiveEndDate"),
    "ProductRatePlan": ("Name", "ProductId"),
    "ProductRatePlanCharge": ("Name", "ProductRatePlanId", "ChargeModel", "ChargeType"),
    "AccountingCode": ("Name", "Type"),
}
_UPDATED = (*_REQUIRED, "Subscription", "RatePlan", "RatePlanCharge", "Invoice", "Payment")
_READ_ONLY = frozenset(
    ("Id", "CreatedById", "CreatedDate", "UpdatedById", "UpdatedDate", "Balance", "CreditBalance")
)
#: What a new account has where nobody says otherwise.
_NEW_ACCOUNT: Record = {
    "Status": "Active", "Batch": "Batch1", "BillCycleDay": 1, "AutoPay": False,
    "AllowInvoiceEdit": False, "InvoiceDeliveryPrefsEmail": False,
    "InvoiceDeliveryPrefsPrint": False, "PaymentTerm": "Due Upon Receipt",
}  # fmt: skip
#: The later calls' names of an account's fields that are not those of the object.
_ACCOUNT_NAMES = {"salesRep": "SalesRepName", "zuoraAccountNumber": "AccountNumber"}
_BASIC = (
    "id", "name", "accountNumber", "notes", "status", "crmId", "batch", "invoiceTemplateId",
    "communicationProfileId", "parentId", "purchaseOrderNumber", "customerServiceRepName",
)  # fmt: skip
_BILLING = (
    "billCycleDay", "currency", "paymentTerm", "paymentGateway", "defaultPaymentMethodId",
    "invoiceDeliveryPrefsPrint", "invoiceDeliveryPrefsEmail", "autoPay", "additionalEmailAddresses",
)  # fmt: skip


class Refused(Exception):
    """What Zuora does not carry out; ``code`` is a word for CRUD and a number elsewhere."""

    def __init__(self, code: str | int, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def missing(what: str, key: str) -> Refused:
    """No such record."""
    return Refused(50000040, f"Cannot find entity by key: '{key}' ({what}).", 404)


class Crud:
    """``/v1/object/…`` and ``/v1/action/…``."""

    def __init__(
        self, tenant: TenantRecords, turn_invoice: Callable[[Record, str], Record] | None = None
    ) -> None:
        self._tenant = tenant
        self._turn_invoice = turn_invoice

    def create(self, name: str, told: Mapping[str, object]) -> Record:
        """A new record: its id, or why there is none."""

        def act(kind: ObjectType) -> Record:
            if kind.name not in _REQUIRED:
                raise Refused("INVALID_TYPE", f"{kind.name} cannot be created")
            fields = self._checked(kind, told, "insert")
            for field in _REQUIRED[kind.name]:
                if fields.get(field) in (None, ""):
                    raise Refused("MISSING_REQUIRED_VALUE", f"Missing required value: {field}")
            if kind.name == "Account":
                fields = self.new_account(fields)
            return self._tenant.create(kind.name, fields)

        return self._told(name, act)

    def update(self, name: str, key: str, told: Mapping[str, object]) -> Record:
        """Other values of some fields."""

        def act(kind: ObjectType) -> Record:
            if kind.name not in _UPDATED:
                raise Refused("INVALID_TYPE", f"{kind.name} cannot be updated")
            found = self._found(kind, key)
            fields = self._checked(kind, told, "update")
            cleared = told.get("fieldsToNull")
            for field in cleared if isinstance(cleared, list) else []:
                fields[str(field)] = None
            status = fields.pop("Status", None) if kind.name == "Invoice" else None
            if status not in (None, found.get("Status")) and self._turn_invoice is not None:
                try:
                    self._turn_invoice(found, str(status))
                except Refused as refused:
                    raise Refused("INVALID_VALUE", refused.message) from None
            return self._tenant.update(kind.name, str(found["Id"]), fields)

        return self._told(name, act)

    def delete(self, name: str, key: str) -> Record:
        """A record goes; names are small here."""

        def act(kind: ObjectType) -> Record:
            if kind.name not in _REQUIRED:
                raise Refused("INVALID_TYPE", f"{kind.name} cannot be deleted")
            found = self._found(kind, key)
            if kind.name == "Account" and any(
                r["AccountId"] == found["Id"] for r in self._tenant.rows("Subscription")
            ):
                raise Refused("CANNOT_DELETE", "Account cannot be deleted: it has subscriptions")
            return self._tenant.update(kind.name, str(found["Id"]), {"Deleted": True})

        answer = self._told(name, act)
        if answer["Success"]:
            return {"success": True, "id": answer["Id"]}
        return {"success": False, "id": key, "errors": answer["Errors"]}

    def _told(self, name: str, act: Callable[[ObjectType], Record]) -> Record:
        try:
            kind = object_types().get(name.replace("-", "").lower())
            if kind is None:
                raise Refused("INVALID_TYPE", f"invalid type: {name}")
            record = act(kind)
        except Refused as refused:
            errors = [{"Code": str(refused.code), "Message": refused.message}]
            return {"Success": False, "Errors": errors}
        self._tenant.keep()
        return {"Success": True, "Id": record["Id"]}

    def _found(self, kind: ObjectType, key: str) -> Record:
        found = self._tenant.find(kind.name, key)
        if found is None or found.get("Deleted"):
            raise Refused("INVALID_ID", f"invalid id: {key}")
        return found

    def _checked(self, kind: ObjectType, told: Mapping[str, object], verb: str) -> Record:
        fields: Record = {}
        for name, value in told.items():
            if name in ("Id", "fieldsToNull", "type"):
                continue
            field = kind.fields.get(name.lower())
            is_custom = name.endswith("__c")
            if (field is None or field.name != name) and not is_custom:
                raise Refused("INVALID_FIELD", f"invalid field for {verb}: {name}")
            if name in _READ_ONLY:
                raise Refused("INVALID_FIELD", f"the field {name} is read only")
            fields[name] = self._value(kind, name, value)
        return fields

    def _value(self, kind: ObjectType, name: str, value: object) -> object:
        try:
            found = typed(kind.name, name, value)
        except ValueError as error:
            raise Refused("INVALID_VALUE", f"The value for {name} is invalid: {error}") from None
        target = RELATIONS.get(name)
        is_known = target is not None and target[1].lower() in object_types()
        if target and is_known and found and self._tenant.find(target[1], found) is None:
            raise Refused("INVALID_ID", f"invalid id for field {name}: {value}")
        return found

    def new_account(self, fields: Record) -> Record:
        """An account with what nobody said."""
        number = fields.get("AccountNumber") or self._tenant.number("A")
        if find(self._tenant, "Account", str(number)) is not None:
            raise Refused("DUPLICATE_VALUE", f"The account number {number} already exists.")
        zero = {name: typed("Account", name, 0) for name in ("Balance", "CreditBalance", "Mrr")}
        return {**_NEW_ACCOUNT, **zero, **fields, "AccountNumber": number}


class Accounts:
    """``/v1/accounts`` and ``/v1/contacts``: the calls that came after CRUD."""

    def __init__(self, tenant: TenantRecords, shown: Callable[[object], object]) -> None:
        self._tenant = tenant
        self._crud = Crud(tenant)
        self._shown = shown

    def known(self, key: object) -> Record:
        """The account of that id or number."""
        found = find(self._tenant, "Account", str(key or ""))
        if found is None:
            raise missing("account", str(key))
        return found

    def create(self, told: Mapping[str, object]) -> Record:
        """A new account with its contacts."""
        for name in ("name", "currency", "billToContact"):
            if not told.get(name) and not (name == "billToContact" and told.get("billToContactId")):
                raise Refused(53100020, f"'{name}' may not be empty")
        record = self._create(told)
        account, key = str(record["AccountNumber"]), str(record["Id"])
        return {
            "accountId": key,
            "accountNumber": account,
            "billToContactId": record.get("BillToContactId"),
            "soldToContactId": record.get("SoldToContactId"),
            "paymentMethodId": record.get("DefaultPaymentMethodId"),
        }

    def _create(self, told: Mapping[str, object]) -> Record:
        contacts = {name: told.get(name) for name in ("billToContact", "soldToContact")}
        for contact in contacts.values():
            if isinstance(contact, dict):
                self._check_contact(contact)
        try:
            fields = self._crud.new_account(
                {**self._fields("Account", told, contacts), **self._paid_by(told)}
            )
        except Refused as refused:
            raise Refused(53100020, refused.message) from None
        key = str(self._tenant.create("Account", fields)["Id"])
        made: Record = {}
        for name, contact in contacts.items():
            if isinstance(contact, dict):
                field = f"{name[0].upper()}{name[1:]}Id"
                made[field] = self._contact(key, contact)["Id"]
        if "BillToContactId" in made:
            made.setdefault("SoldToContactId", made["BillToContactId"])
        return self._tenant.update("Account", key, made)

    def _paid_by(self, told: Mapping[str, object]) -> Record:
        """The payment method that a new account brings, which is paid by automatically."""
        stored = told.get("hpmCreditCardPaymentMethodId")
        is_new = any(isinstance(told.get(name), dict) for name in ("creditCard", "paymentMethod"))
        if not (stored or is_new):
            return {}
        key = str(stored) if stored else self._tenant.key()
        return {"DefaultPaymentMethodId": key, "AutoPay": told.get("autoPay") is not False}

    def update(self, key: str, told: Mapping[str, object]) -> Record:
        """Other values of an account and its contacts."""
        account = self.known(key)
        contacts = {name: told.get(name) for name in ("billToContact", "soldToContact")}
        fields = self._fields("Account", told, contacts)
        for name, contact in contacts.items():
            field = f"{name[0].upper()}{name[1:]}Id"
            if not isinstance(contact, dict):
                continue
            if account.get(field):
                change = self._fields("Contact", contact, ())
                self._tenant.update("Contact", str(account[field]), change)
            else:
                self._check_contact(contact)
                fields[field] = self._contact(str(account["Id"]), contact)["Id"]
        self._tenant.update("Account", str(account["Id"]), fields)
        return {}

    def delete(self, key: str) -> Record:
        """An account goes, unless it has subscriptions."""
        account = self.known(key)
        gone = self._crud.delete("Account", str(account["Id"]))
        if not gone["success"]:
            raise Refused(53100030, "The account cannot be deleted: it has subscriptions")
        return {"id": account["Id"], "jobStatus": "Completed"}

    def show(self, key: str) -> Record:
        """An account as the later calls tell it."""
        account = self.known(key)
        told = {name_of("", name): self._shown(v) for name, v in account.items() if v is not None}
        custom = {name: value for name, value in told.items() if name.endswith("__c")}
        answer: Record = {
            "basicInfo": {
                **{name: told[name] for name in _BASIC if name in told},
                "salesRep": told.get("salesRepName"),
                **custom,
            },
            "billingAndPayment": {name: told[name] for name in _BILLING if name in told},
            "metrics": {
                "balance": told.get("balance", 0),
                "totalInvoiceBalance": told.get("totalInvoiceBalance", 0),
                "creditBalance": told.get("creditBalance", 0),
                "contractedMrr": told.get("mrr", 0),
                "currency": told.get("currency"),
            },
        }
        for name in ("billToContact", "soldToContact"):
            contact = self._tenant.find("Contact", account.get(f"{name[0].upper()}{name[1:]}Id"))
            if contact is not None:
                answer[name] = self.contact_told(contact)
        return answer

    def summary(self, key: str) -> Record:
        """An account with what belongs to it."""
        account, whole = self.known(key), self.show(key)
        basic = whole["basicInfo"]
        assert isinstance(basic, dict)

        def rows(name: str, fields: Sequence[str]) -> list[Record]:
            return [
                {name_of("", f): self._shown(r[f]) for f in fields if r.get(f) is not None}
                for r in self._tenant.rows(name)
                if r["AccountId"] == account["Id"]
            ]

        answer: Record = {
            "basicInfo": {**basic, **_dict(whole["metrics"]), **_dict(whole["billingAndPayment"])},
            "subscriptions": rows(
                "Subscription", ("Id", "Name", "Status", "TermType", "TermStartDate", "TermEndDate")
            ),
            "invoices": rows(
                "Invoice",
                ("Id", "InvoiceNumber", "InvoiceDate", "DueDate", "Amount", "Balance", "Status"),
            ),
            "payments": rows("Payment", ("Id", "PaymentNumber", "EffectiveDate", "Status", "Type")),
            "usage": [],
        }
        for name in ("billToContact", "soldToContact"):
            if name in whole:
                answer[name] = whole[name]
        return answer

    # Contacts

    def create_contact(self, told: Mapping[str, object]) -> Record:
        """A new contact of an account."""
        account = self.known(told.get("accountId") or told.get("accountNumber"))
        self._check_contact(told)
        return self.contact_told(self._contact(str(account["Id"]), told))

    def contact(self, method: str, key: str, told: Mapping[str, object]) -> Record:
        """One contact: told, changed or deleted."""
        found = self._tenant.find("Contact", key)
        if found is None or found.get("Deleted"):
            raise missing("contact", key)
        if method == "DELETE":
            if any(
                key in (a.get("BillToContactId"), a.get("SoldToContactId"))
                for a in self._tenant.rows("Account")
            ):
                raise Refused(53210030, "The contact is in use by an account")
            self._tenant.update("Contact", key, {"Deleted": True})
            return {}
        if method == "PUT":
            found = self._tenant.update("Contact", key, self._fields("Contact", told, ()))
        return self.contact_told(found)

    def contact_told(self, contact: Record) -> Record:
        """A contact as the later calls tell it."""
        return {
            name_of("", name): self._shown(value)
            for name, value in contact.items()
            if value is not None and name != "Deleted"
        }

    def _check_contact(self, told: Mapping[str, object]) -> None:
        for name in ("firstName", "lastName", "country"):
            if not told.get(name):
                raise Refused(53100020, f"'{name}' may not be empty")

    def _contact(self, account: str, told: Mapping[str, object]) -> Record:
        fields = self._fields("Contact", told, ("accountId", "accountNumber"))
        return self._tenant.create("Contact", {**fields, "AccountId": account})

    def _fields(self, kind: str, told: Mapping[str, object], left: object) -> Record:
        """What the request says of the object's fields; what it says of other things is left."""
        known = object_types()[kind.lower()].fields
        fields: Record = {}
        for name, value in told.items():
            if isinstance(left, dict | tuple) and name in left:
                continue
            field = known.get(_ACCOUNT_NAMES.get(name, name).lower())
            if field is None and not name.endswith("__c"):
                continue
            key = field.name if field else name
            if key in _READ_ONLY:
                continue
            try:
                fields[key] = typed(kind, key, value)
            except ValueError:
                raise Refused(53100020, f"The value of '{name}' is invalid") from None
        return fields


def _dict(value: object) -> Record:
    return value if isinstance(value, dict) else {}
