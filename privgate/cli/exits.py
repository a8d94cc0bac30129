"""How the command ends when the answer is no: one exit code for each kind, and a sentence on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import IntEnum

from kernel.errors import Kind, PrivgateError
from privgate.cli.screen import plain


class Exit(IntEnum):
    """Exit codes; docs/CLI.md lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    EXHAUSTED = 4
    UNREACHABLE = 5
    NOT_SIGNED_IN = 6
    NOT_FOUND = 7
    CONFLICT = 8
    NOT_BELIEVED = 9


_OF_KIND = {
    Kind.INVALID: Exit.USAGE,
    Kind.TOO_LARGE: Exit.USAGE,
    Kind.UNAUTHENTICATED: Exit.NOT_SIGNED_IN,
    Kind.DENIED: Exit.DENIED,
    Kind.EXHAUSTED: Exit.EXHAUSTED,
    Kind.NOT_FOUND: Exit.NOT_FOUND,
    Kind.CONFLICT: Exit.CONFLICT,
    Kind.STALE: Exit.CONFLICT,
    Kind.UNAVAILABLE: Exit.UNREACHABLE,
    Kind.CORRUPT: Exit.NOT_BELIEVED,
}


def explain(error: Exception) -> Exit | None:
    """Say on standard error what was wrong and return the exit code; nothing for an error that is a bug."""
    if isinstance(error, PrivgateError):
        code, lines = _OF_KIND[error.kind], [_sentence(error.message), *_about(field=error.field)]
    elif isinstance(error, OSError) and error.filename is not None:
        code, lines = Exit.USAGE, [f"{plain(error.filename)}: {error.strerror}."]
    elif (told := _from_gateway(error)) is not None:
        code, lines = told
    else:
        return None
    for place, line in enumerate(lines):
        print(("Error: " if place == 0 else "  ") + plain(line), file=sys.stderr)  # noqa: T201 - standard error is ours
    return code


def _from_gateway(error: Exception) -> tuple[Exit, list[str]] | None:
    # Imported here: an error of the SDK can only come from a command that loaded it.
    from privgate.client import errors as client
    from privgate.sdk.errors import JobEndedError, UploadRefusedError

    if isinstance(error, (JobEndedError, UploadRefusedError)):
        return Exit.FAILED, [_sentence(str(error))]
    if not isinstance(error, client.GatewayError):
        return None
    codes = {
        client.BudgetExhaustedError: Exit.EXHAUSTED,
        client.NotSignedInError: Exit.NOT_SIGNED_IN,
        client.DeniedError: Exit.DENIED,
        client.NotFoundError: Exit.NOT_FOUND,
        client.ConflictError: Exit.CONFLICT,
        client.InvalidRequestError: Exit.USAGE,
        client.UnavailableError: Exit.UNREACHABLE,
        client.ImpostorError: Exit.NOT_BELIEVED,
    }
    return codes.get(type(error), Exit.FAILED), [
        _sentence(str(error)),
        *_about(**_figures(error.data, type(error).__name__)),
    ]


def _figures(data: dict[str, object], kind: str) -> dict[str, object]:
    figures = {name: data.get(name) for name in ("field", "reason", "decision", "largest_epsilon", "correlation")}
    hint = {"NotSignedInError": "run `privgate login`"}.get(kind)
    # The correlation is for the operator, where nothing else is there; that a state forbids it is no case for him.
    if any(figures[name] for name in ("field", "reason", "largest_epsilon")) or kind == "ConflictError":
        figures["correlation"] = None
    return {**figures, "fix": hint}


def _about(**members: object) -> Iterator[str]:
    for name, value in members.items():
        if value:
            yield f"{name.replace('_', ' ')}: {value}"


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")
