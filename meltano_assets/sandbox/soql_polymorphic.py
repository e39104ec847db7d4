"""References that may lead to several objects: ``Who``, ``What``, a lead's ``Owner``.

Behind such a reference the vendor shows one object, ``Name``, with the fields that people and things
have in common and the ``Type`` that says which object it is. ``TYPEOF`` looks further. Written from the
vendor's pages "Name" (object reference) and "Understanding Polymorphic Keys and Relationships".
"""

from __future__ import annotations

from collections.abc import Iterator

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.salesforce_schema import Field, Schema, SObject

NOT_POLYMORPHIC = "TYPEOF may only be used with a polymorphic relationship"
_TEXTS = "Name Alias FirstName LastName Title Email Phone Username"
NAME = SObject(
    "Name",
    "Name",
    "Names",
    "",
    (
        Field("Id", "id", "Record ID"),
        Field("Type", "string", "Type"),
        *(Field(name, "string", name) for name in _TEXTS.split()),
        Field("IsActive", "boolean", "Active"),
        Field(
            "UserRoleId", "reference", "Role ID", refers_to=("UserRole",), relationship="UserRole"
        ),
        Field(
            "RecordTypeId",
            "reference",
            "Record Type ID",
            refers_to=("RecordType",),
            relationship="RecordType",
        ),
    ),
    is_writable=False,
)


def is_polymorphic(ref: Field) -> bool:
    """May the reference lead to more than one object?"""
    return len(ref.refers_to) > 1


def name_table(schema: Schema, ref: Field) -> str:
    """SQL of a table with the columns of ``Name``, over all objects that the user may see."""
    parts = []
    for target in ref.refers_to:
        sobject = schema.find(target)
        if sobject is None:
            continue
        columns = [f"'{sobject.name}' AS \"Type\"" if f.name == "Type" else _column(sobject, f)
                   for f in NAME.fields]  # fmt: skip
        parts.append(f'SELECT {", ".join(columns)} FROM "{sobject.name}"')
    return f"({' UNION ALL '.join(parts)})"


def _column(sobject: SObject, field: Field) -> str:
    found = sobject.find(field.name)
    if found is None and field.name == "Name":
        # Some objects have a name by another name: a case its number, an event its subject.
        found = next((f for f in sobject.fields if f.name_field), None)
    if found is None or found.is_compound:
        return f'NULL AS "{field.name}"'
    return f'"{found.name}" AS "{field.name}"'


def branches(
    text: str, item: soql.TypeOf, ref: Field
) -> Iterator[tuple[str, tuple[soql.Path, ...]]]:
    """The objects of a ``TYPEOF`` with the fields asked of each; at last ``Name`` with the rest."""
    for token, paths in item.branches:
        target = next((t for t in ref.refers_to if t.lower() == token.text.lower()), None)
        if target is None:
            raise soql.error_at(
                "INVALID_TYPE",
                text,
                token.position,
                f"{token.text} is not a possible type of the relationship {ref.relationship}",
            )
        yield target, paths
    yield NAME.name, item.otherwise


def column_of(text: str, sobject: SObject, path: soql.Path) -> Field:
    """The field of the object that a path within ``TYPEOF`` names."""
    found = sobject.find(".".join(path.names))
    if found is None or found.is_compound:
        message = f"No such column '{'.'.join(path.names)}' on entity '{sobject.name}'."
        raise soql.error_at("INVALID_FIELD", text, path.position, message)
    return found
