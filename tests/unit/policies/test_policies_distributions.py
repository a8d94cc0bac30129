"""Which Casbin is installed, and who may touch it."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted((ROOT / "policies").rglob("*.py"))


def version(name: str) -> tuple[int, ...]:
    """The installed version as numbers."""
    return tuple(int(part) for part in metadata.version(name).split(".")[:3])


def test_the_old_distribution_is_absent() -> None:
    """`casbin` on PyPI installs the same files as `pycasbin`: both together overwrite each other."""
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("casbin")
    assert version("pycasbin") >= (2, 8, 0)


def test_simpleeval_is_past_its_escapes() -> None:
    """Stock Casbin evaluates with simpleeval; what is installed and what is asked for is 1.0.8 or later."""
    assert version("simpleeval") >= (1, 0, 8)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "simpleeval>=1.0.8" in wanted
    assert not [name for name in wanted if name.startswith("casbin")]


def imported(module: Path) -> set[str]:
    """The top-level names that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_casbin_is_imported_by_one_module() -> None:
    """One door: nothing but the matcher knows Casbin."""
    assert [module.name for module in MODULES if "casbin" in imported(module)] == ["matcher.py"]


def test_the_package_imports_kernel_and_casbin_only() -> None:
    """The offline verifier decides with the base install."""
    foreign = {name for module in MODULES for name in imported(module)} - sys.stdlib_module_names
    assert foreign == {"casbin", "kernel", "policies"}
