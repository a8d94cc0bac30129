"""What a malformed request is told: which field, which rule, what to write instead.

Rules
-----
1. A sentence is made of our own words and limits alone. Nothing that came with the request is in it: not `input`, not
   the validator's message, not the name of an unknown member.
2. Every pattern of `bodies` has words here; a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

SHOWN: Final = 3
"""How many faults one sentence tells; all of them stand in the answer's `fields`."""

_ID: Final = re.compile(r"\^([a-z]{3})_\[a-z2-7\]\{26\}\$")
_ONE_OF: Final = re.compile(r"\^\(([a-z-]+(?:\|[a-z-]+)+)\)\$")
_PATTERNS: Final[Mapping[str, str]] = {
    r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,18})?$": "must be a decimal number as text, such as 0.5",
    r"^[a-z0-9][a-z0-9_./-]{0,63}$": "must be a lower-case name: at most 64 of a-z, 0-9, `_`, `.`, `-` and `/`",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$": "must be a time such as 2027-06-30T00:00:00Z",
    "^[a-z-]+$": "must be a word of a-z and `-`",
    "^[a-z]+$": "must be a word of a-z",
    r"^[a-z]+(\.[a-z-]+)?$": "must be the name of a kind of job, such as glm or he.glm",
    "^sha256:[0-9a-f]{64}$": "must be `sha256:` and 64 digits of 0-9 and a-f",
}
_KINDS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "has a member that is not known here",
    "json_invalid": "must be JSON",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
_LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "may have at most {} characters"),
    "too_short": ("min_length", "must list at least {}"),
    "too_long": ("max_length", "may list at most {}"),
    "greater_than": ("gt", "must be above {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be below {}"),
    "less_than_equal": ("le", "must be at most {}"),
}


def told(faults: Iterable[tuple[str, str]]) -> str:
    """One sentence about the first faults, each a field and what it must be."""
    known = list(faults)
    said = "; ".join(f"`{field}` {rule}" for field, rule in known[:SHOWN])
    return f"{said}; and {len(known) - SHOWN} more." if len(known) > SHOWN else f"{said}."


def rule_of(item: Mapping[str, Any]) -> str:
    """What the field of a validation error must be."""
    kind, context = str(item["type"]), item.get("ctx") or {}
    if kind == "string_pattern_mismatch":
        return pattern_rule(str(context.get("pattern", "")))
    member, words = _LIMITS.get(kind, ("", ""))
    limit = context.get(member)
    if isinstance(limit, int):
        return words.format(limit)
    return _KINDS.get(kind, "breaks its rule; GET /openapi.json has it")


def pattern_rule(pattern: str) -> str:
    """A pattern of `bodies` in words."""
    if found := _ID.fullmatch(pattern):
        return f"must be an id: `{found[1]}_` and 26 characters of a-z and 2-7"
    if found := _ONE_OF.fullmatch(pattern):
        return f"must be one of {', '.join(found[1].split('|'))}"
    return _PATTERNS.get(pattern, "is not written as it must be; GET /openapi.json has its pattern")
