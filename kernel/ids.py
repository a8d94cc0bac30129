"""Typed identifiers: random, printable, one class per noun.

Rules
-----
1. An identifier says what it names (`job_...`) and nothing else: 128 random bits, never a count, a time or a name.
2. It is safe as a file name, a URL segment, a Casbin token and a log field: `[a-z]{3}_[a-z2-7]{26}`.
3. Randomness comes in as an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import ClassVar, Self

from kernel.errors import InvalidError

Entropy = Callable[[int], bytes]
"""A source of `n` random bytes. In production `os.urandom`; no request can reach or seed it."""

_BODY = re.compile(r"[a-z2-7]{26}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?(?:/[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?){0,4}")
_SLUG_LONGEST = 64
_PAIRS = ["".join(pair) for pair in product("abcdefghijklmnopqrstuvwxyz234567", repeat=2)]
"""What ten bits are in base 32 (RFC 4648, small letters)."""
_SHIFTS = range(120, -1, -10)


class Identifier(str):
    """Base of all identifiers; build one with `new`, read one with the constructor, which validates."""

    PREFIX: ClassVar[str] = ""
    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Validate the written form."""
        head, _, body = value.partition("_") if isinstance(value, str) else ("", "", "")
        if not cls.PREFIX or head != cls.PREFIX or _BODY.fullmatch(body) is None:
            noun = cls.__name__.removesuffix("Id").lower()
            raise InvalidError(f"`{noun}` must be an id: `{cls.PREFIX}_` and 26 characters of a-z and 2-7", field=noun)
        return super().__new__(cls, value)

    @classmethod
    def new(cls, entropy: Entropy) -> Self:
        """Draw a fresh identifier from 128 bits of `entropy`; every request draws some, so this is kept short."""
        if not cls.PREFIX:
            raise InvalidError("draw an identifier of one of the kinds below")
        bits = int.from_bytes(entropy(16), "big") << 2  # 26 characters hold 130 bits
        body = "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])
        return super().__new__(cls, f"{cls.PREFIX}_{body}")


class TenantId(Identifier):
    """An organisation whose data is governed here."""

    PREFIX = "ten"


class PrincipalId(Identifier):
    """An authenticated actor; the map to a person is kept apart and can be erased."""

    PREFIX = "prn"


class CredentialId(Identifier):
    """The public part of an access token."""

    PREFIX = "tok"


class PopulationId(Identifier):
    """The people (or records) that one privacy budget protects."""

    PREFIX = "pop"


class DatasetId(Identifier):
    """A governed dataset."""

    PREFIX = "dst"


class VersionId(Identifier):
    """One sealed upload of a dataset."""

    PREFIX = "ver"


class DekId(Identifier):
    """A data encryption key."""

    PREFIX = "dek"


class GrantId(Identifier):
    """An owner's permission for one principal."""

    PREFIX = "grt"


class DecisionId(Identifier):
    """One answer of the policy, allow or deny."""

    PREFIX = "dec"


class ApprovalId(Identifier):
    """A person's yes or no to one exact request."""

    PREFIX = "apv"


class JobId(Identifier):
    """What a trainer asked for; also the idempotency key of its reservation."""

    PREFIX = "job"


class TaskId(Identifier):
    """A leased unit of work."""

    PREFIX = "tsk"


class ReleaseId(Identifier):
    """What leaves, with its certificate."""

    PREFIX = "rel"


class EntryId(Identifier):
    """One entry of the log."""

    PREFIX = "ent"


class ReportId(Identifier):
    """A compliance report."""

    PREFIX = "rpt"


class PartyId(Identifier):
    """An agent that takes part in homomorphic jobs: a site or a key holder."""

    PREFIX = "pty"


class Slug(str):
    """A short public name that people choose: a purpose, a rule, a column. At most 64 of `a-z 0-9 _ . - /`."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Validate the written form."""
        if not isinstance(value, str) or len(value) > _SLUG_LONGEST or _SLUG.fullmatch(value) is None:
            raise InvalidError("a name has at most 64 of a-z, 0-9, `_`, `.`, `-`, with `/` between parts")
        return super().__new__(cls, value)
