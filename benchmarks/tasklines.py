"""Result lines that belong to tasks: told as they come, and kept beside those of tasks that were not chosen."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def arguments(description: str | None, quick: str) -> argparse.Namespace:
    """Which tasks, and whether in earnest.

    Args:
        description: Of the program.
        quick: What `--quick` does in its place.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{quick}; nothing is written")
    parser.add_argument("--task", nargs="*", default=None)
    return parser.parse_args()


def chosen_of(tasks: Iterable[N], names: list[str] | None) -> Iterator[N]:
    """The tasks of these names; all, if none are given."""
    return (task for task in tasks if names is None or task.name in names)


def told(lines: Iterable[dict[str, Any]]) -> list[str]:
    """Write each line out as soon as it is measured, and return all of them."""
    found = []
    for line in lines:
        found.append(json.dumps(line))
        sys.stdout.write(found[-1] + "\n")
        sys.stdout.flush()
    return found


def keep(path: Path, found: list[str]) -> None:
    """Put the lines of the tasks that were measured into the file; the other tasks keep theirs."""
    names = {json.loads(line)["task"] for line in found}
    earlier = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in earlier if json.loads(line)["task"] not in names]
    path.write_text("".join(line + "\n" for line in kept + found), encoding="utf-8")
