"""What the company's deals consist of: Salesforce's products and the line items of opportunities.

An amount is the sum of the deal's line items, as Salesforce keeps it; every fourth deal has none.
All follows from the deal's id, so that nothing else of the company changes with it.
"""

from __future__ import annotations

from decimal import Decimal

from meltano_assets.sandbox.company_sales import KEY_PREFIXES, Record, salesforce_id
from meltano_assets.sandbox.company_words import dice
from meltano_assets.sandbox.company_world import World

_CENT = Decimal("0.01")
#: Name, code, family, yearly list price; the last one is sold no more.
_PRODUCTS = (
    ("Starter", "EE-STARTER", "Subscription", 48.0),
    ("Premium", "EE-PREMIUM", "Subscription", 228.0),
    ("Ultimate", "EE-ULTIMATE", "Subscription", 1188.0),
    ("Implementation", "PS-IMPLEMENT", "Services", 12_000.0),
    ("Training, one day", "PS-TRAINING", "Services", 5_000.0),
    ("File Locking", "EE-LOCKING", "Add-On", 24.0),
)


def offer_products(world: World) -> None:
    """The price list, as old as the company."""
    for number, (name, code, family, _price) in enumerate(_PRODUCTS):
        record: Record = {
            "Id": world.sales.new_id("Product2"),
            "Name": name,
            "ProductCode": code,
            "Description": None,
            "Family": family,
            "IsActive": number < len(_PRODUCTS) - 1,
            **world.sales.audit(-900, -900),
        }
        world.put(0, "Product2", record)


def list_price(product: Record) -> float:
    """What the price list asks for a product."""
    return next(price for _, code, _, price in _PRODUCTS if code == product["ProductCode"])


def price_of(product: Record) -> str:
    """The id of its entry in the price book: products and entries are numbered alike."""
    code = product["ProductCode"]
    number = next(n for n, (_, known, _, _) in enumerate(_PRODUCTS, 1) if known == code)
    return salesforce_id(KEY_PREFIXES["PricebookEntry"], number)


def sell(world: World, day: int, deal: Record) -> None:
    """The deal's line items, which add up to its amount."""
    rng = dice(f"{world.seed}:lines:{deal['Id']}")
    count = rng.choice([0, 1, 1, 2, 3, 1, 0, 2])
    if deal["Amount"] is None or not count:
        return
    products = rng.sample(list(world.live["Product2"].values()), count)
    left = Decimal(str(deal["Amount"]))
    weights = [rng.randrange(1, 10) for _ in products]
    for number, (product, weight) in enumerate(zip(products, weights, strict=True)):
        share = (left * weight / sum(weights[number:])).quantize(_CENT)
        left -= share
        quantity = rng.choice([1, 10, 25])
        record: Record = {
            "Id": world.sales.new_id("OpportunityLineItem"),
            "OpportunityId": deal["Id"],
            "Product2Id": product["Id"],
            "PricebookEntryId": price_of(product),
            "ProductCode": product["ProductCode"],
            "Name": f"{str(deal['Name'])[:90]} {product['Name']}",
            "Quantity": quantity,
            "ListPrice": list_price(product),
            "UnitPrice": float((share / quantity).quantize(_CENT)),
            "TotalPrice": float(share),
            "ServiceDate": None,
            "Description": None,
            "SortOrder": number + 1,
            **{
                name: deal[name]
                for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp", "IsDeleted")
            },
        }
        if day:
            record["CreatedDate"] = deal["SystemModstamp"]
        world.put(day, "OpportunityLineItem", record)


def take_back(world: World, day: int, deal: Record, at: float) -> None:
    """A deal that is deleted takes its line items along."""
    for record in list(world.live["OpportunityLineItem"].values()):
        if record["OpportunityId"] == deal["Id"]:
            world.change(day, "OpportunityLineItem", record, at, IsDeleted=True)
