"""The program's own source, as data for the tests that hold its shape."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audit", "compliance", "gateway", "kernel", "policies", "privacy", "privgate")


@dataclass(frozen=True)
class Source:
    """One file of the program or of its tests.

    Attributes:
        module: Its dotted name, as it would be imported.
        path: Where it lies, from the root of the repository.
    """

    module: str
    path: str
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        """It parsed: when it is first asked for, not where a test is only named after it."""
        return ast.parse(self.text, filename=self.path)

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """What each imported name stands for, in full: `c` -> `privacy.release.certificate`."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return found

    @functools.cached_property
    def imported(self) -> frozenset[str]:
        """Every module or name that is imported anywhere in the file."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return frozenset(found)

    def calls(self) -> Iterator[tuple[str, str]]:
        """Every call, as (full name of what is called, dotted name of where the call stands)."""
        yield from self._calls_in(self.tree, self.module)

    def _calls_in(self, node: ast.AST, place: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inner = place
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{place}.{child.name}"
            if isinstance(child, ast.Call):
                yield self._full_name(child.func, place), place
            yield from self._calls_in(child, inner)

    def _full_name(self, node: ast.expr, place: str) -> str:
        """`c.PrivacyCertificate.of` -> its full name; a class's own `cls` -> the class; `?` for what is computed."""
        if isinstance(node, ast.Attribute):
            return f"{self._full_name(node.value, place)}.{node.attr}"
        if not isinstance(node, ast.Name):
            return "?"
        if node.id == "cls":
            return place.rpartition(".")[0]
        return self.names.get(node.id, f"{self.module}.{node.id}")


@functools.cache
def program() -> tuple[Source, ...]:
    """All modules that are shipped."""
    return tuple(_read(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


@functools.cache
def suite() -> tuple[Source, ...]:
    """All files of the test suite."""
    return tuple(_read(path) for path in sorted((ROOT / "tests").rglob("*.py")))


def module(name: str) -> Source:
    """One module of the program; a `KeyError` if it is not there."""
    return {source.module: source for source in program()}[name]


def definitions(source: Source) -> frozenset[str]:
    """The dotted names that a module defines: functions, classes, methods, constants, with the module in front."""
    found: set[str] = {source.module}

    def visit(body: list[ast.stmt], place: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{place}.{node.name}")
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{place}.{node.name}")
            elif isinstance(node, ast.Assign):
                found.update(f"{place}.{target.id}" for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(f"{place}.{node.target.id}")

    visit(source.tree.body, source.module)
    return frozenset(found)


def _read(path: Path) -> Source:
    relative = path.relative_to(ROOT)
    text = path.read_text(encoding="utf-8")
    parts = [part for part in relative.with_suffix("").parts if part != "__init__"]
    return Source(".".join(parts), relative.as_posix(), text)
