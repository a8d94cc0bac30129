"""The databases that the gateway runs on, each fresh and at the head of the one migration history.

A test takes `DATABASES` as its parameters (`database_cases`), so that both are held to the same.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.engine import build_engine
from gateway.storage.schema import migrate
from gateway.unit_of_work import Database, Surroundings
from kernel.clock import Clock, SystemClock
from tests.support import postgres as server


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """A SQLite file; its address."""
    path = folder / "privgate.sqlite"
    path.write_bytes(_migrated_sqlite())
    yield f"sqlite:///{path}"


@contextlib.contextmanager
def postgres(_: Path) -> Iterator[str]:
    """A database of the PostgreSQL server; its address."""
    with server.require().database() as url:
        yield url


@contextlib.contextmanager
def empty_sqlite(folder: Path) -> Iterator[str]:
    """SQLite before the first migration."""
    yield f"sqlite:///{folder / 'empty.sqlite'}"


@contextlib.contextmanager
def empty_postgres(_: Path) -> Iterator[str]:
    """PostgreSQL before the first migration."""
    with server.require().database("template0") as url:
        yield url


Factory = Callable[[Path], AbstractContextManager[str]]
DATABASES: dict[str, Factory] = {"sqlite": sqlite, "postgres": postgres}
EMPTY_DATABASES: dict[str, Factory] = {"sqlite": empty_sqlite, "postgres": empty_postgres}


def cases(names: Iterable[str]) -> list[Any]:
    """Names as parameters; those on PostgreSQL carry its marker."""
    return [pytest.param(n, marks=pytest.mark.postgres) if n == "postgres" else n for n in sorted(names)]


@contextlib.contextmanager
def opened(name: str, folder: Path, clock: Clock | None = None) -> Iterator[Database]:
    """A fresh database of that kind, open."""
    with DATABASES[name](folder) as url:
        database = Database(build_engine(url), Surroundings(clock or SystemClock(), os.urandom))
        try:
            yield database
        finally:
            database.dispose()


@functools.cache
def _migrated_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.sqlite"
        engine = build_engine(f"sqlite:///{path}")
        migrate(engine)
        engine.dispose()
        return path.read_bytes()
