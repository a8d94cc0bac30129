"""Rows to frozen records and back, by the record's own type hints.

Text columns hold ids, digests, enums and times in their written form; JSON columns hold canonical JSON text.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, and_, insert, select, update

from kernel import canonical
from kernel.clock import format_time, parse_time
from kernel.errors import NotFoundError, StaleError

R = TypeVar("R")
JSON_LIMIT = 64 * 2**20

_Convert = Callable[[Any], Any]


class Rows(Generic[R]):
    """A table seen as frozen records of one class, whose fields are the table's columns."""

    def __init__(self, connection: Connection, table: Table, record: type[R]) -> None:
        self._connection = connection
        self._table = table
        self._record = record
        self._codecs = _codecs(record)

    def insert(self, record: R) -> None:
        """Store a new record; a duplicate key raises SQLAlchemy's IntegrityError."""
        self._connection.execute(insert(self._table).values(self._encoded(self._fields(record))))

    def find(self, *, lock: bool = False, **keys: object) -> R | None:
        """Return the one record with these column values, or nothing; `lock` holds it until commit."""
        statement = select(self._table).where(self._matching(keys))
        row = self._connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
        return None if row is None else self._decoded(row)

    def get(self, *, lock: bool = False, **keys: object) -> R:
        """Return the one record with these column values; raise `NotFoundError` if there is none."""
        record = self.find(lock=lock, **keys)
        if record is None:
            raise NotFoundError(f"no such {self._table.name.replace('_', ' ')}")
        return record

    def page(
        self,
        *conditions: ColumnElement[bool],
        after: str | None,
        limit: int,
        without: Collection[str] = (),
        **keys: object,
    ) -> list[R]:
        """Return up to `limit` records in order of `id`, those after the given id first.

        Args:
            conditions: What else must hold.
            after: The last id of the page before.
            limit: How many at most.
            without: JSON columns that may be large and are not needed; they are not read, and come back empty.
            keys: Column values.
        """
        wanted = [column for column in self._table.c if column.name not in without]
        statement = select(*wanted).where(self._matching(keys), *conditions)
        if after is not None:
            statement = statement.where(self._table.c.id > after)
        rows = self._connection.execute(statement.order_by(self._table.c.id).limit(limit)).mappings()
        return [self._decoded({**row, **dict.fromkeys(without, "{}")}) for row in rows]

    def all(self, *conditions: ColumnElement[bool], **keys: object) -> list[R]:
        """Return every record with these column values."""
        rows = self._connection.execute(select(self._table).where(self._matching(keys), *conditions)).mappings()
        return [self._decoded(row) for row in rows]

    def change(self, keys: Mapping[str, object], **changes: object) -> None:
        """Change columns of the one record with these keys.

        Where `keys` has `row_version` the stored version must equal it, and rises by one.

        Raises:
            StaleError: No such record, or somebody else changed it since it was read.
        """
        values = self._encoded(changes)
        if "row_version" in keys:
            values["row_version"] = int(typing.cast(int, keys["row_version"])) + 1
        result = self._connection.execute(update(self._table).where(self._matching(keys)).values(values))
        if result.rowcount != 1:
            raise StaleError(f"the {self._table.name.replace('_', ' ')} changed meanwhile; read it again")

    def _matching(self, keys: Mapping[str, object]) -> ColumnElement[bool]:
        encoded = self._encoded(keys)
        return and_(True, *(self._table.c[name] == value for name, value in encoded.items()))

    def _fields(self, record: R) -> dict[str, Any]:
        return {name: getattr(record, name) for name in self._codecs}

    def _encoded(self, values: Mapping[str, object]) -> dict[str, Any]:
        return {name: None if value is None else self._codecs[name][0](value) for name, value in values.items()}

    def _decoded(self, row: Mapping[Any, Any]) -> R:
        values = {n: None if row[n] is None else decode(row[n]) for n, (_, decode) in self._codecs.items()}
        return self._record(**values)


_KNOWN: dict[type, dict[str, tuple[_Convert, _Convert]]] = {}


def _codecs(record: type) -> dict[str, tuple[_Convert, _Convert]]:
    if record not in _KNOWN:
        hints = typing.get_type_hints(record)
        _KNOWN[record] = {field.name: _codec(hints[field.name]) for field in dataclasses.fields(record)}
    return _KNOWN[record]


def _codec(kind: Any) -> tuple[_Convert, _Convert]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (argument for argument in typing.get_args(kind) if argument is not type(None))
    if typing.get_origin(kind) is not None and issubclass(typing.get_origin(kind), Mapping):
        return _json_text, _from_json_text
    if kind is datetime:
        return format_time, parse_time
    if issubclass(kind, StrEnum):
        return lambda value: value.value, kind
    if issubclass(kind, str):
        return str, kind
    if kind is bytes:
        return bytes, bytes
    return kind, kind


def _json_text(value: Any) -> str:
    return canonical.encode(value).decode("utf-8")


def _from_json_text(value: str) -> Any:
    return canonical.decode(value.encode("utf-8"), limit=JSON_LIMIT)
