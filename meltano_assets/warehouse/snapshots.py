"""Who might still look at the database as it was a moment ago.

Rows that were inserted without FREEZE are invisible to a transaction whose snapshot is older, even
when it first opens their table after the commit. A table put in another's place would be empty for it.
"""

from __future__ import annotations

from datetime import datetime

import psycopg

#: Transactions whose snapshot may be from before a moment. Loads take a new one for each statement.
_OLDER_READERS = """
select not pg_has_role(current_user, 'pg_read_all_stats', 'usage') or exists (
    select from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend'
        and pid <> pg_backend_pid() and backend_xmin is not null and xact_start <= coalesce(%s, clock_timestamp())
        and application_name not like 'meltano-assets load%%'
)
"""


def has_older_readers(connection: psycopg.Connection, moment: datetime | None = None) -> bool:
    """True unless every transaction's snapshot is later than the moment, which is now by default.

    True as well where other sessions' transactions cannot be seen.
    """
    row = connection.execute(_OLDER_READERS, [moment]).fetchone()
    return row is None or bool(row[0])
