"""The edge of the command: whatever fails ends as one message and an exit code.

A failure that was foreseen says what to do. One that was not says where it came from, and its
traceback goes to a private file of the state directory. Secrets leave on neither way.
"""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape

from meltano_assets import environment
from meltano_assets.commands.terminal import err
from meltano_assets.errors import FatalError, PlatformError

#: The place of a traceback's last line in this package is what a report of the fault needs.
_PACKAGE = Path(__file__).resolve().parent.parent


def report(error: Exception) -> int:
    """Print what the user needs to know; returns the exit code."""
    if isinstance(error, PlatformError):
        _complain(_without_secrets(str(error)))
        return error.exit_code
    told = _without_secrets(f"{type(error).__name__}: {error}".strip().removesuffix(":"))
    message = f"{told.splitlines()[0][:500]} (in {_where(error)})"
    log = _write(_without_secrets("".join(traceback.format_exception(error))))
    if log is not None:
        message += f"; this was not foreseen, the details are in {log}"
    _complain(message)
    return 2


def _complain(message: str) -> None:
    err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)


def _without_secrets(text: str) -> str:
    from meltano_assets import connections
    from meltano_assets.clients.redaction import redact

    return redact(text, connections.known_secrets())


def _where(error: Exception) -> str:
    """File and line of the last frame that is ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not ours:
        return "a package that is used here"
    path = Path(ours[-1].filename).relative_to(_PACKAGE.parent)
    return f"{path}:{ours[-1].lineno}"


def _write(text: str) -> Path | None:
    """Append to the log of failures; None where the state directory cannot be written."""
    try:
        folder = environment.state_directory()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "errors.log"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n{text}\n")
    except (OSError, FatalError):
        return None
    return path
