"""Errors, named by what the runner should do about them.

Every error carries where it happened (source, stream) and what to do next. No message ever holds
a record's values or a secret.
"""

from __future__ import annotations


class PlatformError(Exception):
    """A failure with a place and a next step. Use one of the three below."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        stream: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.stream = stream
        self.hint = hint

    @property
    def place(self) -> str:
        """``source.stream``, as far as known; may be empty."""
        return ".".join(part for part in (self.source, self.stream) if part)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text} ({self.hint})" if self.hint else text


class FatalError(PlatformError):
    """Stop; another try of the same thing fails the same way."""

    exit_code = 2


class CredentialsError(FatalError):
    """The vendor does not take us for who we say we are; ``hint`` says where that is set."""


class QuotaError(FatalError):
    """The calls that may be made are used up; ``hint`` says until when."""


class GoneError(FatalError):
    """What was asked for is not there, or no longer: a deleted record, an export that expired."""


class RetriableError(PlatformError):
    """Try again later: the cause lies outside and may pass."""

    exit_code = 1


class SkippableError(PlatformError):
    """Count this item, say so, and go on with the next."""

    exit_code = 1
