"""The statements that lead from the present state of roles to the wanted one. Executes nothing.

Every role of the file gets exactly what it says: what it has beyond that is taken away, in all schemas of
this database. Roles that the file does not name are left alone. Nothing is dropped: no role, no schema.

Postgres' rules that the order follows: REVOKE on a table takes the privileges on its columns along;
a new owner gets the old one's grants; whoever changes another role's things or defaults must be that role,
for which a role that may administer it makes itself a member for the length of the transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from meltano_assets.warehouse.roles.present import Access, Default, Present
from meltano_assets.warehouse.roles.statements import (
    Grouped,
    Plan,
    Statement,
    attribute_words,
    column_difference,
    difference,
    identifiers,
    privileges_of,
    quoted,
    some,
)
from meltano_assets.warehouse.roles.wanted import (
    SCHEMA_READ,
    SCHEMA_WRITE,
    SEQUENCE_READ,
    SEQUENCE_WRITE,
    TABLE_READ,
    TABLE_WRITE,
    Attributes,
    Impersonal,
    Named,
    Reach,
    Relation,
    Role,
    Wanted,
)

FILE = "roles.yaml"
_TABLE_PRIVILEGES = {"read": TABLE_READ, "write": TABLE_WRITE, None: frozenset[str]()}
_SEQUENCE_PRIVILEGES = {"read": SEQUENCE_READ, "write": SEQUENCE_WRITE, None: frozenset[str]()}
#: What nobody takes from himself.
_LOSSES = {"nologin", "nosuperuser", "nocreaterole"}
_KIND_WORDS = {"r": "tables", "S": "sequences", "n": "schemas"}


def plan(
    wanted: Wanted,
    present: Present,
    impersonal: Impersonal,
    verifiers: Mapping[str, str] | None = None,
) -> Plan:
    """From the present state to the wanted one; ``verifiers`` are of passwords that are to be set."""
    return _Planner(wanted, present, impersonal, verifiers or {}).planned()


def plan_tables(present: Present, impersonal: Impersonal) -> Plan:
    """The same for grants on tables alone, as they were last settled: for tables made since."""
    roles = {
        name: Role(name, tables=access.tables, has_personal_data=access.has_personal_data)
        for name, access in present.access.items()
        if name in present.roles and not present.roles[name].is_superuser
    }
    planner = _Planner(roles, present, impersonal, {})
    planner.tables(is_strict=False)
    planner.be_for_a_while(0)
    return planner.plan


class _Planner:
    """One plan in the making."""

    def __init__(
        self,
        wanted: Wanted,
        present: Present,
        impersonal: Impersonal,
        verifiers: Mapping[str, str],
    ) -> None:
        self.wanted = wanted
        self.present = present
        self.impersonal = impersonal
        self.verifiers = verifiers
        self.plan = Plan()
        #: Roles to be members of for a while, and those made by this plan.
        self.became: dict[str, None] = {}
        self.made: set[str] = set()
        self.schema_owners = dict(present.schemas)
        self.table_owners = dict(present.tables)
        self.sequence_owners = dict(present.sequences)

    def planned(self) -> Plan:
        """Everything, in the order in which it can be done."""
        self.roles()
        self.members()
        at = len(self.plan.statements)
        self.owners()
        self.schemas()
        self.tables(is_strict=True)
        self.sequences()
        self.defaults()
        self.memory()
        self.doors()
        self.be_for_a_while(at)
        return self.plan

    # roles and members

    def roles(self) -> None:
        """Roles that are missing, and attributes that differ."""
        me = self.present.me
        for role in self.wanted.values():
            known = self.present.roles.get(role.name)
            name = sql.Identifier(role.name)
            if known is None:
                if not (me.is_superuser or me.can_create_roles):
                    self._problem(
                        role,
                        f"the role does not exist, and {me.name} may not create roles",
                        f"let an administrator say: alter role {quoted(me.name)} createrole",
                    )
                    continue
                words = attribute_words(role, None)
                self._check_powers(role, None)
                self.made.add(role.name)
                self._do("roles", "create role {}{}", name, sql.SQL(words))
            elif words := attribute_words(
                role, (known.can_login, known.is_superuser, known.attributes)
            ):
                if not known.can_administer or (known.is_superuser and not me.is_superuser):
                    self._problem(
                        role,
                        f"its attributes differ ({words.strip()}), and {me.name} may not change them",
                        f"let an administrator say: grant {quoted(role.name)} to {quoted(me.name)}"
                        " with admin option, or do it as a superuser",
                    )
                    continue
                self._check_powers(role, known.attributes)
                if role.name == me.name and (lost := _LOSSES & set(words.split())):
                    self._problem(
                        role,
                        f"it is the role that applies the file, and would lose {min(lost)[2:].upper()}",
                        "say so in its entry, or leave it out of the file",
                    )
                    continue
                self._do("roles", "alter role {}{}", name, sql.SQL(words))
        for role_name, verifier in self.verifiers.items():
            role = self.wanted[role_name]
            known = self.present.roles.get(role_name)
            if known is not None and not known.can_administer:
                self._problem(
                    role,
                    f"its password differs, and {me.name} may not set it",
                    f"let an administrator say: grant {quoted(role.name)} to {quoted(me.name)}"
                    " with admin option",
                )
                continue
            statement = sql.SQL("alter role {} password {}")
            self.plan.statements.append(
                Statement(
                    "roles",
                    statement.format(sql.Identifier(role_name), sql.Literal(verifier)),
                    statement.format(
                        sql.Identifier(role_name),
                        sql.SQL("/* SCRAM verifier of ${} */").format(
                            sql.SQL(role.password_variable or "")  # type: ignore[arg-type]
                        ),
                    ),
                )
            )

    def _check_powers(self, role: Role, known: Attributes | None) -> None:
        """A problem for attributes that only a mightier role can give."""
        me = self.present.me
        if me.is_superuser:
            return
        before = known or Attributes()
        wishes = {
            "SUPERUSER": role.is_superuser,
            "REPLICATION": role.attributes.replication and not before.replication,
            "BYPASSRLS": role.attributes.bypassrls and not before.bypassrls,
            "CREATEDB": role.attributes.createdb and not before.createdb,
            "CREATEROLE": role.attributes.createrole and not before.createrole,
        }
        # From 16 on, a role can give what it has itself; before, superusers only, or anybody with CREATEROLE.
        own = me.version >= 160000
        may = {
            "SUPERUSER": False,
            "REPLICATION": own and me.can_replicate,
            "BYPASSRLS": own and me.can_bypass_rls,
            "CREATEDB": me.can_create_databases or not own,
            "CREATEROLE": me.can_create_roles or not own,
        }
        for power, is_wished in wishes.items():
            if is_wished and not may[power]:
                self._problem(
                    role,
                    f"{me.name} cannot give {power}, which it lacks itself",
                    "take it out of the entry, or let a superuser apply the file",
                )

    def members(self) -> None:
        """Memberships: exactly those of the file."""
        for role in self.wanted.values():
            have = self.present.groups.get(role.name, {})
            member = sql.Identifier(role.name)
            for group in role.member_of:
                name = sql.Identifier(group)
                if group not in self.present.roles and group not in self.made:
                    self._problem(
                        role,
                        f"member_of names {group}, and there is no such role",
                        f"give {group} an entry of its own in {FILE}, or create it",
                    )
                    continue
                known = have.get(group)
                is_changed = (
                    self.present.me.version >= 160000
                    and known is not None
                    and known.inherits != role.attributes.inherit
                )
                if (known is None or is_changed) and self._may_administer(
                    role, group, f"make {role.name} a member of it"
                ):
                    # Since 16 each membership says for itself whether it is inherited.
                    option = (
                        f" with inherit {role.attributes.inherit}".lower() if is_changed else ""
                    )
                    self._do("members", f"grant {{}} to {{}}{option}", name, member)
                if (
                    known is not None
                    and known.administers
                    and self._may_administer(role, group, f"keep {role.name} from handing it on")
                ):
                    self._do("members", "revoke admin option for {} from {}", name, member)
            for group in sorted(set(have) - set(role.member_of)):
                if self._may_administer(role, group, f"end {role.name}'s membership"):
                    self._do("members", "revoke {} from {}", sql.Identifier(group), member)

    def _may_administer(self, role: Role, group: str, purpose: str) -> bool:
        me, known = self.present.me, self.present.roles.get(group)
        may = me.is_superuser or group in self.made or (known is not None and known.can_administer)
        if not may:
            self._problem(
                role,
                f"{me.name} may not administer {group}, to {purpose}",
                f"let an administrator say: grant {quoted(group)} to {quoted(me.name)} with admin option",
            )
        return may

    # owners

    def owners(self) -> None:
        """Personal schemas that are missing, and things that are to have another owner."""
        me = self.present.me
        for role in self.wanted.values():
            for schema in role.owned_schemas:
                name = sql.Identifier(schema)
                if schema not in self.schema_owners:
                    if not (role.has_personal_schema and schema == role.name):
                        self._missing_schema(role, "owns, schemas", schema)
                        continue
                    if not me.can_create_schemas:
                        self._may_not_create_schemas(role, "its personal schema is to be made")
                        continue
                    if self._can_be(role.name, role, "make its personal schema"):
                        self._do(
                            "owners",
                            "create schema {} authorization {}",
                            name,
                            sql.Identifier(role.name),
                        )
                        self.schema_owners[schema] = role.name
                elif self.schema_owners[schema] == role.name:
                    continue
                elif not me.can_create_schemas:
                    self._may_not_create_schemas(role, f"the schema {schema} is to be its own")
                elif self._may_hand_over(role, f"schema {schema}", self.schema_owners[schema]):
                    self._do(
                        "owners", "alter schema {} owner to {}", name, sql.Identifier(role.name)
                    )
                    self.schema_owners[schema] = role.name
            moves: dict[str, list[tuple[str, Relation]]] = defaultdict(list)
            for kind, owned, owners in (
                ("table", role.owned_tables, self.table_owners),
                ("sequence", role.owned_sequences, self.sequence_owners),
            ):
                for relation in self._relations(role, f"owns, {kind}s", owned, owners, kind):
                    is_dependent = relation in self.present.dependent
                    if owners[relation] == role.name or is_dependent:
                        continue
                    what = f"{kind} {'.'.join(relation)}"
                    if self._may_hand_over(role, what, owners[relation]):
                        moves[relation[0]].append((kind, relation))
                        owners[relation] = role.name
            for schema, moved in moves.items():
                self._hand_over(role, schema, moved)

    def _may_not_create_schemas(self, role: Role, why: str) -> None:
        me = self.present.me
        self._problem(
            role,
            f"{why}, and {me.name} may not create schemas",
            f"let an administrator say: grant create on database {quoted(me.database)} to"
            f" {quoted(me.name)}",
        )

    def _hand_over(self, role: Role, schema: str, moved: Iterable[tuple[str, Relation]]) -> None:
        """New owners for tables and sequences of one schema, in which an owner must be able to create."""
        rights = self.present.schema_rights.get(role.name, {}).get(schema, set())
        may_create = any(right.privilege == "CREATE" for right in rights)
        is_lent = not (
            may_create or self.present.me.is_superuser or self.schema_owners[schema] == role.name
        )
        on_schema = (sql.Identifier(schema), sql.Identifier(role.name))
        if is_lent:
            purpose = f"let {role.name} own things in {schema}"
            if not self._can_be(self.schema_owners[schema], role, purpose):
                return
            self._do("owners", "grant create on schema {} to {}", *on_schema)
        for kind, relation in moved:
            self._do(
                "owners",
                f"alter {kind} {{}} owner to {{}}",
                sql.Identifier(*relation),
                sql.Identifier(role.name),
            )
        if is_lent:
            self._do("owners", "revoke create on schema {} from {}", *on_schema)

    def _may_hand_over(self, role: Role, what: str, owner: str) -> bool:
        purpose = f"make {role.name} the owner of {what}"
        # Both are asked for, so that one look tells all that is missing.
        results = [self._can_be(owner, role, purpose), self._can_be(role.name, role, purpose)]
        return all(results)

    # rights

    def schemas(self) -> None:
        """USAGE and CREATE on schemas."""
        granted: Grouped = defaultdict(list)
        revoked: Grouped = defaultdict(list)
        for role in self._ordinary():
            wishes: dict[str, frozenset[str]] = {}
            for access, schemas, privileges in (
                ("read", role.read_schemas, SCHEMA_READ),
                ("write", role.write_schemas, SCHEMA_WRITE),
            ):
                for schema in schemas:
                    if schema not in self.schema_owners:
                        self._missing_schema(role, f"privileges, schemas, {access}", schema)
                    else:
                        wishes[schema] = wishes.get(schema, frozenset()) | privileges
            have = self.present.schema_rights.get(role.name, {})
            for schema in sorted({*wishes, *have}):
                owner = self.schema_owners.get(schema)
                if owner is None or owner == role.name:
                    continue
                missing, excess, handed_on = difference(
                    wishes.get(schema, frozenset()), have.get(schema, set())
                )
                if (missing or excess or handed_on) and self._can_be(
                    owner, role, f"grant on the schema {schema}"
                ):
                    for privileges in excess:
                        revoked[privileges, "", role.name].append(sql.Identifier(schema))
                    for privileges in handed_on:
                        revoked[privileges, "grant option for ", role.name].append(
                            sql.Identifier(schema)
                        )
                    if missing:
                        granted[missing, "", role.name].append(sql.Identifier(schema))
        self._write_grouped("schemas", "schema ", revoked, granted)

    def tables(self, *, is_strict: bool) -> None:
        """Privileges on tables and views, by column for roles without personal data."""
        granted: Grouped = defaultdict(list)
        revoked: Grouped = defaultdict(list)
        on_columns: dict[tuple[str, Relation, tuple[str, ...]], list[str]] = defaultdict(list)
        for role in self._ordinary():
            if is_strict:
                self._check_names(role)
            own_rights = self.present.rights.get(role.name, {})
            own_columns = self.present.column_rights.get(role.name, {})
            unread: list[str] = []
            for relation, owner in sorted(self.table_owners.items()):
                if owner == role.name:
                    continue
                access = role.tables.of(relation)
                have, have_columns = own_rights.get(relation, set()), own_columns.get(relation, {})
                wish = _TABLE_PRIVILEGES[access]
                columns: tuple[str, ...] = ()
                if access and not role.has_personal_data:
                    known = self.impersonal.get(relation, frozenset())
                    there = self.present.columns.get(relation, ())
                    columns = tuple(column for column in there if column in known)
                    wish = frozenset()
                    if not columns:
                        unread.append(".".join(relation))
                missing, excess, handed_on = difference(wish, have)
                taken = {privilege for group in excess for privilege in group}
                more, less = column_difference(columns, have_columns, taken)
                if not (missing or excess or handed_on or more or less):
                    continue
                if not is_strict and not self._is_reachable(owner):
                    continue
                if not self._can_be(owner, role, f"grant on {'.'.join(relation)}"):
                    continue
                name = sql.Identifier(*relation)
                for privileges in excess:
                    revoked[privileges, "", role.name].append(name)
                for privileges in handed_on:
                    revoked[privileges, "grant option for ", role.name].append(name)
                for privilege, names in less.items():
                    on_columns[f"revoke {privilege}", relation, names].append(role.name)
                if missing:
                    granted[missing, "", role.name].append(name)
                if more:
                    on_columns["grant SELECT", relation, more].append(role.name)
            if unread:
                self._note(
                    role,
                    f"nothing may be read of {some(unread)}: no column there is declared in dbt and known"
                    " to tell of nobody",
                )
        self._write_grouped("tables", "", revoked, granted)
        for (verb, relation, names), roles in on_columns.items():
            is_grant = verb.startswith("grant")
            closed = sorted(
                set(self.present.columns[relation]) - self.impersonal.get(relation, frozenset())
            )
            self._do(
                "tables, by column",
                f"{verb.lower()} ({{}}) on {{}} {'to' if is_grant else 'from'} {{}}",
                identifiers(names),
                sql.Identifier(*relation),
                identifiers(roles),
                remark=f"closed: {', '.join(closed)}" if is_grant and closed else "",
            )

    def sequences(self) -> None:
        """Privileges on sequences."""
        granted: Grouped = defaultdict(list)
        revoked: Grouped = defaultdict(list)
        for role in self._ordinary():
            self._relations(
                role,
                "privileges, sequences",
                (*role.sequences.read, *role.sequences.write),
                self.sequence_owners,
                "sequence",
            )
            have = self.present.rights.get(role.name, {})
            for relation, owner in sorted(self.sequence_owners.items()):
                if owner == role.name:
                    continue
                wish = _SEQUENCE_PRIVILEGES[role.sequences.of(relation)]
                missing, excess, handed_on = difference(wish, have.get(relation, set()))
                if (missing or excess or handed_on) and self._can_be(
                    owner, role, f"grant on {'.'.join(relation)}"
                ):
                    name = sql.Identifier(*relation)
                    for privileges in excess:
                        revoked[privileges, "", role.name].append(name)
                    for privileges in handed_on:
                        revoked[privileges, "grant option for ", role.name].append(name)
                    if missing:
                        granted[missing, "", role.name].append(name)
        self._write_grouped("sequences", "sequence ", revoked, granted)

    def _check_names(self, role: Role) -> None:
        """Tables that the entry names have to be there, and their schemas open to the role."""
        where = "privileges, tables"
        named = (*role.tables.read, *role.tables.write)
        self._relations(role, where, named, self.table_owners, "table")
        entered = self._entered(role)
        shut = {one.schema for one in named} - entered
        for schema in sorted(shut & set(self.schema_owners)):
            self._note(
                role,
                f"tables of {schema} are granted, and the role may not enter that schema: add it to"
                " privileges, schemas, read",
            )

    def _entered(self, role: Role) -> set[str]:
        """Schemas that the role may enter, by itself, by what it is a member of, or as everybody."""
        found = {
            schema
            for schema, rights in self.present.schema_rights.get(None, {}).items()
            if any(right.privilege == "USAGE" for right in rights)
        }
        pending, seen = [role.name], set[str]()
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            found |= {schema for schema, owner in self.schema_owners.items() if owner == name}
            if name in self.wanted:
                one = self.wanted[name]
                found |= {*one.read_schemas, *one.write_schemas}
                pending += one.member_of
            else:
                found |= set(self.schema_owners)  # what others' roles may is theirs to know
        return found

    # defaults

    def defaults(self) -> None:
        """Privileges on what is yet to be made, by every role that makes things there."""
        statements: dict[tuple[str, str | None, str, str, str], set[str]] = defaultdict(set)
        for role in self._ordinary():
            wish = self._wanted_defaults(role)
            have = self.present.defaults.get(role.name, set())
            for one in sorted(wish - have, key=str):
                if self._is_reachable(one.creator):
                    key = ("grant", one.schema, one.kind, role.name, one.creator)
                    statements[key].add(one.privilege)
                else:
                    self._note(
                        role,
                        f"what {one.creator} makes in {one.schema} is not granted by itself, since"
                        f" {self.present.me.name} may not act for it; `roles apply` grants it afterwards",
                    )
            for one in sorted(have - wish, key=str):
                if self._can_be(one.creator, role, "take back what is granted by default"):
                    key = ("revoke", one.schema, one.kind, role.name, one.creator)
                    statements[key].add(one.privilege)
        for (verb, schema, kind, role_name, creator), privileges in statements.items():
            self._can_be(creator, self.wanted[role_name], "say what is granted by default")
            self._do(
                "what is yet to be made",
                f"alter default privileges for role {{}}{{}} {verb} {{}} on {_KIND_WORDS[kind]}"
                f" {'to' if verb == 'grant' else 'from'} {{}}",
                sql.Identifier(creator),
                sql.SQL(" in schema {}").format(sql.Identifier(schema)) if schema else sql.SQL(""),
                privileges_of(privileges),
                sql.Identifier(role_name),
            )

    def _wanted_defaults(self, role: Role) -> set[Default]:
        found = set()
        reaches = [("S", role.sequences, _SEQUENCE_PRIVILEGES)]
        if role.has_personal_data:
            # By column there is nothing of the kind: a table that is made gets its grants by name.
            reaches.append(("r", role.tables, _TABLE_PRIVILEGES))
        for kind, reach, privileges in reaches:
            for schema in {one.schema for one in (*reach.read, *reach.write) if one.is_all}:
                if schema not in self.schema_owners:
                    continue
                for creator in self._creators(schema) - {role.name}:
                    for privilege in privileges[reach.of_new(schema)]:
                        found.add(Default(creator, schema, kind, privilege))
        return found

    def _creators(self, schema: str) -> set[str]:
        """Who makes things there: this session's role, owners of what is there, who may, and who may by the
        file.
        """
        found = {self.present.me.name, self.schema_owners[schema]}
        found |= self.present.creators.get(schema, set()) - set(self.wanted)
        for owners in (self.table_owners, self.sequence_owners):
            found |= {owner for (place, _), owner in owners.items() if place == schema}
        for role in self.wanted.values():
            if schema in role.write_schemas:
                found |= {role.name, *self._members_of(role.name)}
        known = {*self.present.roles, *self.made}
        return {name for name in found if name in known and not name.startswith("pg_")}

    def _members_of(self, group: str) -> set[str]:
        found: set[str] = set()
        pending = [group]
        while pending:
            name = pending.pop()
            for role in self.wanted.values():
                if name in role.member_of and role.name not in found:
                    found.add(role.name)
                    pending.append(role.name)
        return found

    # memory and open doors

    def memory(self) -> None:
        """What is settled here, for those who rebuild tables and cannot read the file."""
        for role_name in sorted({*self.present.access, *self.wanted}):
            role = self.wanted.get(role_name)
            access = None
            if role is not None and not role.is_superuser and role.tables.names:
                sorted_reach = Reach(
                    tuple(sorted(role.tables.read)),
                    tuple(sorted(role.tables.write)),
                    tuple(sorted(role.tables.excepted)),
                )
                access = Access(sorted_reach, role.has_personal_data)
            before = self.present.access.get(role_name)
            if access == before:
                continue
            part = "remembered, so that tables that are rebuilt get their grants again"
            if before is not None:
                self._do(
                    part, "delete from meltano.role_access where role = {}", sql.Literal(role_name)
                )
            if access is not None:
                rows = [
                    sql.SQL("({})").format(
                        sql.SQL(", ").join(
                            map(
                                sql.Literal,
                                (role_name, word, one.schema, one.name, access.has_personal_data),
                            )
                        )
                    )
                    for word, names in (
                        ("read", access.tables.read),
                        ("write", access.tables.write),
                        ("except", access.tables.excepted),
                    )
                    for one in names
                ]
                self._do(
                    part,
                    "insert into meltano.role_access"
                    " (role, access, schema_name, table_name, has_personal_data) values {}",
                    sql.SQL(", ").join(rows),
                )

    def doors(self) -> None:
        """Rights of everybody, by which roles come further than the file lets them."""
        for schema, rights in sorted(self.present.schema_rights.get(None, {}).items()):
            if any(right.privilege == "CREATE" for right in rights):
                name = quoted(schema)
                self.plan.open_doors.append(
                    f"everybody may create things in {name}: revoke create on schema {name} from public"
                )
        everybody = self.present.rights.get(None, {})
        columns = self.present.column_rights.get(None, {})
        for relation in sorted({*everybody, *columns} & set(self.table_owners)):
            privileges = {right.privilege for right in everybody.get(relation, set())}
            on_columns = {
                right.privilege for rights in columns.get(relation, {}).values() for right in rights
            }
            name = sql.Identifier(*relation).as_string(None)
            words = privileges_of(privileges | on_columns).as_string(None)
            self.plan.open_doors.append(
                f"everybody may {words} {name}, and so may every role of {FILE}:"
                f" revoke {words} on {name} from public"
            )
        for default in sorted(self.present.defaults.get(None, set()), key=str):
            if default.kind == "r":
                where = f" in {default.schema}" if default.schema else ""
                self.plan.open_doors.append(
                    f"everybody gets {default.privilege} on tables that {default.creator} makes{where}:"
                    f" alter default privileges for role {quoted(default.creator)}"
                    + (f" in schema {quoted(default.schema)}" if default.schema else "")
                    + f" revoke {default.privilege.lower()} on tables from public"
                )

    # what it takes

    def be_for_a_while(self, at: int) -> None:
        """Memberships for the length of the transaction, around the statements from ``at`` on."""
        if not self.became:
            return
        part = f"to act for others: {self.present.me.name} is their member for a moment"
        me = sql.Identifier(self.present.me.name)
        option = " with inherit true, set true" if self.present.me.version >= 160000 else ""
        names = identifiers(self.became)
        grant = sql.SQL("grant {} to {}" + option).format(names, me)  # type: ignore[arg-type]
        self.plan.statements.insert(at, Statement(part, grant))
        self.plan.statements.append(Statement(part, sql.SQL("revoke {} from {}").format(names, me)))

    def _is_reachable(self, name: str) -> bool:
        """True when this session has the role's rights, or can give itself those."""
        me, known = self.present.me, self.present.roles.get(name)
        if me.is_superuser or name == me.name or name in self.made:
            return True
        if known is None:
            return False
        return known.can_be or (not known.is_superuser and known.can_administer)

    def _can_be(self, name: str, role: Role, purpose: str) -> bool:
        """True when this session may act for the role; remembers what that takes, or says what it lacks."""
        me = self.present.me
        if not self._is_reachable(name):
            self._problem(
                role,
                f"{me.name} lacks the rights of {name}, which it takes to {purpose}",
                f"let an administrator say: grant {quoted(name)} to {quoted(me.name)}; or apply"
                f" {FILE} as {name}",
            )
            return False
        known = self.present.roles.get(name)
        is_there = me.is_superuser or name == me.name or (known is not None and known.can_be)
        if not is_there:
            self.became[name] = None
        return True

    # words

    def _ordinary(self) -> Iterable[Role]:
        """Roles that rights mean something to."""
        for role in self.wanted.values():
            known = self.present.roles.get(role.name)
            if role.is_superuser:
                if role.tables.names or role.read_schemas or role.write_schemas:
                    note = "a superuser needs no privileges, and its list is passed over"
                    self._note(role, note)
                continue
            if known is not None or role.name in self.made:
                yield role

    def _relations(
        self,
        role: Role,
        where: str,
        names: Sequence[Named],
        owners: Mapping[Relation, str],
        kind: str,
    ) -> list[Relation]:
        """The relations that are named, with a problem for those that are not there."""
        found: list[Relation] = []
        for named in names:
            if named.schema not in self.schema_owners:
                self._missing_schema(role, where, named.schema)
            elif named.is_all:
                found += [relation for relation in owners if named.matches(relation)]
            elif (named.schema, named.name) in owners:
                found.append((named.schema, named.name))
            else:
                self._problem(
                    role,
                    f"{where}: there is no {kind} {named}",
                    "load or build it first, or correct the name",
                )
        return found

    def _missing_schema(self, role: Role, where: str, schema: str) -> None:
        self._problem(
            role,
            f"{where}: there is no schema {schema}",
            "a first load or dbt build makes it; or create it, or correct the name",
        )

    def _problem(self, role: Role, words: str, next_step: str) -> None:
        text = f"{FILE}, {role.name}: {words} ({next_step})"
        if text not in self.plan.problems:
            self.plan.problems.append(text)

    def _note(self, role: Role, words: str) -> None:
        text = f"{role.name}: {words}"
        if text not in self.plan.notes:
            self.plan.notes.append(text)

    def _do(self, part: str, statement: str, *parts: sql.Composable, remark: str = "") -> None:
        text = sql.SQL(statement).format(*parts)  # type: ignore[arg-type] # written above
        # A column may have any name, also one that ends the line of a comment.
        self.plan.statements.append(Statement(part, text, remark=" ".join(remark.split())))

    def _write_grouped(self, part: str, kind: str, revoked: Grouped, granted: Grouped) -> None:
        for (privileges, option, role), names in revoked.items():
            self._do(
                part,
                f"revoke {option}{{}} on {kind}{{}} from {{}}",
                privileges_of(privileges),
                sql.SQL(", ").join(names),
                sql.Identifier(role),
            )
        for (privileges, _, role), names in granted.items():
            self._do(
                part,
                f"grant {{}} on {kind}{{}} to {{}}",
                privileges_of(privileges),
                sql.SQL(", ").join(names),
                sql.Identifier(role),
            )
