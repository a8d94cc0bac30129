"""The only bytes that are hashed or signed: canonical JSON (RFC 8785) without floats.

Rules
-----
1. One value has one encoding: sorted members, no white space, UTF-8, the shortest escapes.
2. Floats are refused, in and out: amounts are decimal strings (RFC 8785 numbers are IEEE doubles, and two machines need
   not agree on the last digit). Integers stay within +-(2^53 - 1).
3. Whatever is hashed names what it is (`digest_of(tag, value)`): a digest of one kind never equals another kind's.
4. The reader is strict: no duplicate member, no lone surrogate, bounded size and depth.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Self, TypeAlias

from kernel.errors import InvalidError, TooLargeError

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Any]

LARGEST_INTEGER = 2**53 - 1
DEEPEST = 32
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Digest(str):
    """`sha256:` and 64 hexadecimal digits."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Validate the written form."""
        if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
            raise InvalidError("a digest is `sha256:` followed by 64 hexadecimal digits")
        return super().__new__(cls, value)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Digest an artefact's bytes as they are."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Wrap 32 bytes that are already a SHA-256 value."""
        if len(raw) != hashlib.sha256().digest_size:
            raise InvalidError("a SHA-256 value has 32 bytes")
        return cls("sha256:" + raw.hex())

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self[7:]

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return bytes.fromhex(self[7:])


def encode(value: Json) -> bytes:
    """Encode `value` as canonical JSON.

    Raises:
        InvalidError: A float, an integer beyond 2^53 - 1, a key that is no string, a lone surrogate, another type, or
            nesting deeper than `DEEPEST`.

    Reference: RFC 8785 section 3.2.
    """
    try:
        return _written(value, DEEPEST).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidError("text holds a lone surrogate and has no UTF-8 form") from None


def decode(data: bytes, *, limit: int, canonical: bool = False) -> Any:
    """Read JSON strictly.

    Args:
        data: UTF-8 bytes.
        limit: The most bytes that are looked at.
        canonical: Demand that `data` is exactly what `encode` would write.

    Raises:
        TooLargeError: `data` is longer than `limit`.
        InvalidError: Not JSON, or JSON that `encode` would refuse.
    """
    if len(data) > limit:
        raise TooLargeError(f"JSON longer than {limit} bytes")
    if canonical and data.isascii() and data.count(b"{") + data.count(b"[") <= DEEPEST:
        return _decode_plain(data.decode("ascii"))
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_float=_no_float, parse_constant=_no_float
        )
    except (ValueError, RecursionError):
        raise InvalidError("not valid JSON in UTF-8") from None
    again = encode(value)
    if canonical and again != data:
        raise InvalidError("JSON is not in canonical form (RFC 8785)")
    return value


def digest_of(tag: str, value: Json) -> Digest:
    """Digest a value under a tag that says what it is, for example `digest_of("schema/v1", schema)`."""
    return Digest.of(b"privgate/" + tag.encode("ascii") + b"\x00" + encode(value))


def _decode_plain(written: str) -> Any:
    """Read canonical JSON that is ASCII and shallow: the C codec alone decides, several times faster.

    There code points sort as UTF-16 does; a float, a large integer or a repeated member cannot survive the way back.
    """
    try:
        value = _PLAIN_DECODER.decode(written)
    except (ValueError, RecursionError):
        raise InvalidError("not valid JSON in UTF-8") from None
    if _PLAIN_ENCODER.encode(value) != written:
        raise InvalidError("JSON is not in canonical form (RFC 8785)")
    return value


def _written(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise InvalidError("an integer beyond 2^53 - 1 must be written as text")
        return int.__repr__(value)
    if depth == 0:
        raise InvalidError(f"nested deeper than {DEEPEST} levels")
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_written(item, depth - 1) for item in value]) + "]"
    if isinstance(value, (dict, Mapping)):
        members = []
        for name in _sorted_names(value):
            member = value[name]
            # Most members are text: written here, they cost no call.
            written = encode_basestring(member) if isinstance(member, str) else _written(member, depth - 1)
            members.append(encode_basestring(name) + ":" + written)
        return "{" + ",".join(members) + "}"
    raise InvalidError(f"{type(value).__name__} has no canonical form; write amounts as decimal text")


def _sorted_names(members: Mapping[str, Any]) -> list[str]:
    try:
        plain = "".join(members).isascii()
    except TypeError:
        raise InvalidError("member names must be text") from None
    # Members sort by UTF-16 code units, which differs from code points above U+FFFF (RFC 8785 section 3.2.3).
    return sorted(members) if plain else sorted(members, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _no_float(_: str) -> Any:
    raise ValueError("float")


def _bounded_integer(digits: str) -> int:
    # The length is looked at first, so that a long number costs nothing to refuse.
    if len(digits) > _LONGEST_INTEGER or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError("integer too large")
    return int(digits)


_LONGEST_INTEGER = len(str(-LARGEST_INTEGER))
_CONSTANTS = {None: "null", True: "true", False: "false"}
_PLAIN_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
_PLAIN_DECODER = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float, parse_int=_bounded_integer)
