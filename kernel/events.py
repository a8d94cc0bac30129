"""What the log may say: events with closed field kinds, so that free text cannot slip into it.

Rules
-----
1. An event is `noun:verbed`, past tense, with a version; its class lists every field it may carry.
2. A field is an identifier, slug, digest, commitment, amount, enum, count, flag or time, a nested `Record` of those, a
   tuple of them, or absent. There is no kind for text: names, reasons and messages are logged as commitments.
3. Meanings never change. A new optional field may join a version; anything else is a new version.
4. Reading is strict: an unknown member, a missing one or a wrong kind is refused. An unknown type is reported as
   `UnknownEvent`, never skipped.
5. Events belong to nouns: each package keeps its own in its `events` module and offers them as `EVENTS`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any, ClassVar, Self

from kernel.amounts import Amount
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import decimal, finite
from kernel.clock import format_time, parse_time
from kernel.errors import InvalidError
from kernel.ids import Identifier, Slug

_EXACT = Context(prec=40)  # the caller's context might round
_DIGITS = 34

Encoder = Callable[[Any], Any]
Decoder = Callable[[Any], Any]


class Commitment(Digest):
    """A keyed commitment to something that is kept outside the log; without its key it confirms no guess."""

    __slots__ = ()


class Parameter(str):
    """An exact decimal parameter of a mechanism or a plan (a rate, a noise multiplier), as plain text."""

    __slots__ = ()

    def __new__(cls, value: str | int | Decimal) -> Self:
        """Validate the written form."""
        return cls.of(value, "parameter")

    @classmethod
    def of(cls, value: str | int | Decimal, field: str) -> Self:
        """Read what `kernel.checks.decimal` reads; the error names the field."""
        number = decimal(**{field: value})
        if len(number.as_tuple().digits) > _DIGITS or abs(number.adjusted()) > _DIGITS:
            raise InvalidError(f"`{field}` may have at most {_DIGITS} digits", field=field)
        plain = format(number.normalize(_EXACT), "f")
        return str.__new__(cls, "0" if plain == "-0" else plain)

    @property
    def number(self) -> Decimal:
        """The exact value."""
        return finite(parameter=Decimal(self))


@dataclass(frozen=True, kw_only=True)
class Record:
    """A frozen group of fields of closed kinds."""

    def to_fields(self) -> dict[str, Any]:
        """Encode as JSON members; absent fields are left out."""
        fields = {}
        for name, encode, _ in _codecs(type(self)):
            value = getattr(self, name)
            if value is not None:
                fields[name] = encode(value)
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_fields` writes; raise `InvalidError` naming the member otherwise."""
        if not isinstance(fields, Mapping):
            raise InvalidError(f"{cls.__name__} must be an object")
        codecs = _codecs(cls)
        unknown = set(fields) - {name for name, _, _ in codecs}
        if unknown:
            raise InvalidError(f"{cls.__name__} has members that this version does not know")
        values = {name: _decoded(name, decode, fields.get(name)) for name, _, decode in codecs}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """Base of all events; subclasses set `TYPE` and, when they change, `VERSION`."""

    TYPE: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1


@dataclass(frozen=True)
class UnknownEvent:
    """An event of a type or version that this program does not know. A verifier reports it."""

    type: str
    version: int
    fields: Mapping[str, Any]


class Registry:
    """The closed set of event classes that a reader understands."""

    def __init__(self, *groups: Iterable[type[Event]]) -> None:
        self._classes: dict[tuple[str, int], type[Event]] = {}
        for event_class in (c for group in groups for c in group):
            key = (event_class.TYPE, event_class.VERSION)
            if self._classes.setdefault(key, event_class) is not event_class:
                raise TypeError(f"two classes claim the event {key}")

    def decode(self, type_: str, version: int, fields: Mapping[str, Any]) -> Event | UnknownEvent:
        """Build the event; raise `InvalidError` if its fields break their kinds."""
        event_class = self._classes.get((type_, version))
        if event_class is None:
            return UnknownEvent(type_, version, fields)
        return event_class.from_fields(fields)

    def types(self) -> tuple[str, ...]:
        """All known type names, sorted."""
        return tuple(sorted({name for name, _ in self._classes}))


def _decoded(name: str, decode: Decoder, value: Any) -> Any:
    try:
        return decode(value)
    except InvalidError as error:
        raise InvalidError(f"`{name}`: {error.message}", field=name) from None


Codec = tuple[str, Encoder, Decoder]
_KNOWN_CODECS: dict[type[Record], tuple[Codec, ...]] = {}


def _codecs(record: type[Record]) -> tuple[Codec, ...]:
    known = _KNOWN_CODECS.get(record)
    if known is None:
        hints = typing.get_type_hints(record)
        known = tuple((f.name, *_codec(hints[f.name], f.name)) for f in dataclasses.fields(record))
        _KNOWN_CODECS[record] = known
    return known


def _codec(kind: Any, name: str) -> tuple[Encoder, Decoder]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments, name)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(arguments[0], name)
    if not isinstance(kind, type):
        raise TypeError(f"field `{name}` has no closed kind: {kind}")
    for base, codec in _SCALARS:
        if issubclass(kind, base):
            return codec(kind)
    raise TypeError(f"field `{name}` has no closed kind: {kind.__name__}")


def _optional(arguments: tuple[Any, ...], name: str) -> tuple[Encoder, Decoder]:
    inner = [a for a in arguments if a is not type(None)]
    if len(inner) != 1 or len(arguments) != 2:
        raise TypeError(f"field `{name}` may be one kind or absent, not a choice")
    encode, decode = _codec(inner[0], name)
    return encode, lambda value: None if value is None else decode(value)


def _sequence(item: Any, name: str) -> tuple[Encoder, Decoder]:
    encode, decode = _codec(item, name)

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise InvalidError("must be a list")
        return tuple(decode(v) for v in value)

    return lambda value: [encode(v) for v in value], read


def _text_kind(kind: type) -> tuple[Encoder, Decoder]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidError("must be text")
        return kind(value)

    return str, read


def _enum_kind(kind: type) -> tuple[Encoder, Decoder]:
    known = {member.value: member for member in typing.cast(type[StrEnum], kind)}

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise InvalidError(f"is not one of {', '.join(known)}")
        return known[value]

    return lambda value: value.value, read


def _amount_kind(kind: type) -> tuple[Encoder, Decoder]:
    return str, typing.cast(type[Amount], kind).parse


def _flag_kind(_: type) -> tuple[Encoder, Decoder]:
    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise InvalidError("must be true or false")
        return value

    return bool, read


def _count_kind(_: type) -> tuple[Encoder, Decoder]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_INTEGER:
            raise InvalidError("must be a whole number, not negative")
        return value

    return int, read


def _time_kind(_: type) -> tuple[Encoder, Decoder]:
    return format_time, parse_time


def _record_kind(kind: type) -> tuple[Encoder, Decoder]:
    record = typing.cast(type[Record], kind)
    return lambda value: value.to_fields(), record.from_fields


_SCALARS: tuple[tuple[type, Callable[[type], tuple[Encoder, Decoder]]], ...] = (
    (StrEnum, _enum_kind),
    (Identifier, _text_kind),
    (Slug, _text_kind),
    (Parameter, _text_kind),
    (Digest, _text_kind),
    (Amount, _amount_kind),
    (bool, _flag_kind),
    (int, _count_kind),
    (datetime, _time_kind),
    (Record, _record_kind),
)
