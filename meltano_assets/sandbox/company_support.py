"""The support side of the company: Zendesk's tickets and the people around them."""

from __future__ import annotations

import random

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice, mailbox, person
from meltano_assets.sandbox.company_world import World, scaled

_SUBJECTS = (
    "Cannot push over HTTPS",
    "Runner does not pick up jobs",
    "LDAP login fails after upgrade",
    "Licence expired too early",
    "Pages return 502",
    "Question about high availability",
    "Backup takes nine hours – normal?",
    "Merge request shows „Checking pipeline“ for ever",
    "Søk etter grupper virker ikke",
    "Geo: secondary lags behind 🚨",
)
_GROUPS = ("Support EMEA", "Support AMER", "Support APAC", "Licensing")
_FORM_ID = 360_000_001
_BRAND_ID = 360_000_002
_FIELD_ID = 360_000_101


def _text_time(world: World, days: float) -> str:
    return world.clock.at(days).strftime("%Y-%m-%dT%H:%M:%SZ")


class SupportDesk:
    """Tickets by day and the small collections beside them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._live: dict[int, Record] = {}
        self._days: dict[int, list[Record]] = {}
        self.records: dict[str, list[Record]] = {}
        self._people()
        self._first_tickets()

    def tickets(self, day: int) -> list[Record]:
        """Tickets that came or changed on that day."""
        return self._days.get(day, [])

    def _people(self) -> None:
        world = self._world
        rng = dice(f"{world.seed}:support:people")
        created = _text_time(world, -600)
        groups: list[Record] = [
            {
                "id": 20_001 + i,
                "name": name,
                "description": "",
                "default": i == 0,
                "deleted": False,
                "is_public": True,
                "created_at": created,
                "updated_at": created,
            }
            for i, name in enumerate(_GROUPS)
        ]
        accounts = [a for a in world.live["Account"].values() if not a["IsDeleted"]]
        customers = [a for a in accounts if a["Type"] == "Customer"] or accounts[:1]
        organizations: list[Record] = []
        users: list[Record] = []
        for i in range(max(4, scaled(12, world.scale))):
            given, family = person(rng)
            users.append(
                self._user(
                    1_001 + i,
                    f"{given} {family}",
                    f"{mailbox(given, family)}.{i}@support.meltano-sandbox.com",
                    "agent" if i else "admin",
                    None,
                )
            )
        for i, account in enumerate(customers):
            organisation = world.account_organisations[str(account["Id"])]
            organizations.append(
                {
                    "id": 30_001 + i,
                    "name": account["Name"],
                    "external_id": account["Id"],
                    "domain_names": [organisation.domain],
                    "details": "",
                    "notes": None,
                    "group_id": None,
                    "shared_comments": False,
                    "shared_tickets": False,
                    "tags": [],
                    "organization_fields": {"salesforce_id": account["Id"]},
                    "created_at": created,
                    "updated_at": created,
                }
            )
            for _ in range(2):
                given, family = person(rng)
                address = f"{mailbox(given, family)}@{organisation.domain}"
                users.append(
                    self._user(
                        1_001 + len(users), f"{given} {family}", address, "end-user", 30_001 + i
                    )
                )
        agents = [u for u in users if u["role"] != "end-user"]
        self._end_users = [u for u in users if u["role"] == "end-user"]
        self._agents = agents
        self.records = {
            "groups": groups,
            "organizations": organizations,
            "users": users,
            "group_memberships": [
                {
                    "id": 40_001 + i,
                    "user_id": agent["id"],
                    "group_id": groups[i % len(groups)]["id"],
                    "default": True,
                    "created_at": created,
                    "updated_at": created,
                }
                for i, agent in enumerate(agents)
            ],
            "ticket_fields": [
                {
                    "id": _FIELD_ID,
                    "type": "text",
                    "title": "GitLab version",
                    "raw_title": "GitLab version",
                    "description": "",
                    "position": 1,
                    "active": True,
                    "required": False,
                    "tag": None,
                    "created_at": created,
                    "updated_at": created,
                }
            ],
            "ticket_forms": [
                {
                    "id": _FORM_ID,
                    "name": "Default",
                    "display_name": "Default",
                    "active": True,
                    "default": True,
                    "end_user_visible": True,
                    "position": 1,
                    "ticket_field_ids": [_FIELD_ID],
                    "created_at": created,
                    "updated_at": created,
                }
            ],
            "brands": [
                {
                    "id": _BRAND_ID,
                    "name": "Meltano Sandbox",
                    "active": True,
                    "default": True,
                    "subdomain": "sandbox",
                    "ticket_form_ids": [_FORM_ID],
                    "created_at": created,
                    "updated_at": created,
                }
            ],
        }

    def _user(
        self, number: int, name: str, address: str, role: str, organization: int | None
    ) -> Record:
        created = _text_time(self._world, -590 + number % 300)
        return {
            "id": number,
            "name": name,
            "email": address,
            "role": role,
            "active": True,
            "verified": True,
            "suspended": False,
            "shared": False,
            "locale": "en-US",
            "time_zone": "UTC",
            "phone": None,
            "organization_id": organization,
            "default_group_id": 20_001 if role != "end-user" else None,
            "tags": [],
            "user_fields": {},
            "created_at": created,
            "updated_at": created,
        }

    def _ticket(self, rng: random.Random, number: int, created: float, updated: float) -> Record:
        world = self._world
        requester = rng.choice(self._end_users)
        status = rng.choice(["closed"] * 5 + ["solved"] * 2 + ["open", "pending", "hold", "new"])
        kind = rng.choice(["question", "incident", "problem", "task", None])
        subject = rng.choice(_SUBJECTS)
        value = rng.choice([None, "10.1.4", "9.5.10-ee"])
        score = rng.choice(["unoffered", "unoffered", "offered", "good", "bad"])
        rating: Record = {"score": score}
        if score in ("good", "bad"):
            rating |= {"id": 70_000 + number, "comment": "Thank you" if score == "good" else None}
        return {
            "id": number,
            "external_id": f"crm-{number}" if number % 11 == 0 else None,
            "via": {
                "channel": rng.choice(["web", "email", "api"]),
                "source": {"from": {}, "to": {}, "rel": None},
            },
            "created_at": _text_time(world, created),
            "updated_at": _text_time(world, updated),
            # The system touches tickets without an event: this may be later than updated_at.
            "generated_timestamp": int(
                world.clock.at(
                    min(updated + (0.02 if number % 17 == 0 else 0), max(updated, -0.001))
                ).timestamp()
            ),
            "type": kind,
            "subject": subject,
            "raw_subject": subject,
            "description": f"Hello,\n\n{subject.lower()}.\n\nRegards,\n{requester['name']}",
            "priority": rng.choice([None, "low", "normal", "high", "urgent"]),
            "status": status,
            "recipient": "support@meltano-sandbox.com" if rng.random() < 0.4 else None,
            "requester_id": requester["id"],
            "submitter_id": requester["id"],
            "assignee_id": rng.choice(self._agents)["id"] if status != "new" else None,
            "organization_id": requester["organization_id"],
            "group_id": 20_001 + rng.randrange(len(_GROUPS)),
            "collaborator_ids": [u["id"] for u in rng.sample(self._agents, rng.choice([0, 0, 1]))],
            "follower_ids": [],
            "email_cc_ids": [],
            "forum_topic_id": None,
            "problem_id": None,
            "has_incidents": kind == "problem" and rng.random() < 0.3,
            "is_public": rng.random() < 0.95,
            "due_at": _text_time(world, created + 7) if kind == "task" else None,
            "tags": sorted(
                rng.sample(["ldap", "ci", "licence", "geo", "enterprise"], rng.randrange(3))
            ),
            "custom_fields": [{"id": _FIELD_ID, "value": value}],
            "fields": [{"id": _FIELD_ID, "value": value}],
            "satisfaction_rating": rating,
            "sharing_agreement_ids": [],
            "followup_ids": [],
            "ticket_form_id": _FORM_ID,
            "brand_id": _BRAND_ID,
            "allow_channelback": False,
            "allow_attachments": True,
            "from_messaging_channel": False,
        }

    def _first_tickets(self) -> None:
        rng = dice(f"{self._world.seed}:support:tickets")
        count = scaled(1500, self._world.scale)
        starts = sorted(rng.uniform(-540, -0.5) for _ in range(count))
        for i, created in enumerate(starts):
            updated = min(created + abs(rng.gauss(0, 12)), max(created, -0.2))
            ticket = self._ticket(rng, i + 1, created, updated)
            if i % 50 == 49:
                ticket["status"] = "deleted"
            self._live[i + 1] = ticket
        # A burst: several tickets of one second, so that pages are cut inside it.
        burst = [self._live[number] for number in sorted(self._live)[-12:]]
        for ticket in burst[:6]:
            ticket["generated_timestamp"] = burst[0]["generated_timestamp"]
        self._days[0] = sorted(self._live.values(), key=_order)

    def build_day(self, day: int) -> None:
        """New tickets, changed ones and a deleted one."""
        rng = dice(f"{self._world.seed}:support:day:{day}")

        def moment() -> float:
            return day - 1 + rng.uniform(0.2, 0.99)

        today: dict[int, Record] = {}
        living = [t for t in self._live.values() if t["status"] not in ("closed", "deleted")]
        chosen = rng.sample(living, min(len(living), scaled(20, self._world.scale)))
        for i, ticket in enumerate(chosen):
            at = moment()
            status = "deleted" if i == 0 else rng.choice(["open", "pending", "solved", "closed"])
            changed = {
                **ticket,
                "status": status,
                "updated_at": _text_time(self._world, at),
                "generated_timestamp": int(self._world.clock.at(at).timestamp()),
            }
            today[int(str(ticket["id"]))] = changed
        for _ in range(scaled(8, self._world.scale)):
            number = len(self._live) + 1
            at = moment()
            ticket = self._ticket(rng, number, at, at)
            ticket["status"] = "new"
            ticket["assignee_id"] = None
            self._live[number] = today[number] = ticket
        self._live.update(today)
        self._days[day] = sorted(today.values(), key=_order)


def _order(ticket: Record) -> tuple[int, int]:
    return int(str(ticket["generated_timestamp"])), int(str(ticket["id"]))
