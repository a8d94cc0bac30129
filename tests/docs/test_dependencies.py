"""Every dependency has a reason on one page, under the extra that brings it, and the page names no other."""

from __future__ import annotations

import re
import tomllib

from tests.support.sources import ROOT, program

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def named(requirements: list[str]) -> set[str]:
    """The distributions that a list of requirements names."""
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}


def explained() -> dict[str, set[str]]:
    """What the page explains, by the extras that its headings name; `Base` is the base install."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for part in page.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        found[heading.partition(":")[0]] = set(re.findall(r"^\| ([a-z0-9][a-z0-9-]*) \| \S", body, re.MULTILINE)) - {
            "distribution"
        }
    return found


def test_each_dependency_is_explained_under_its_extra() -> None:
    """A dependency that nobody can give a reason for is not one we take."""
    extras: dict[str, set[str]] = {name: named(group) for name, group in PROJECT["optional-dependencies"].items()}
    page = explained()
    assert page.pop("Base") == named(PROJECT["dependencies"])
    for heading, distributions in page.items():
        assert distributions == set().union(*(extras.pop(name) for name in heading.split(", "))), heading
    assert extras == {}


IMPORTED_AS = {
    "dp-accounting": "dp_accounting",
    "prometheus-client": "prometheus_client",
    "pycasbin": "casbin",
    "pydantic-settings": "pydantic_settings",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
USED_BY_OTHERS = {
    "psycopg": "SQLAlchemy's driver, named in the database's address",
    "simpleeval": "pycasbin's; only its version is held",
}


def test_each_dependency_of_the_program_is_imported_by_it() -> None:
    """What nobody imports is only attack surface."""
    groups = [PROJECT["dependencies"], *(g for name, g in PROJECT["optional-dependencies"].items() if name != "dev")]
    wanted = {name for group in groups for name in named(group)} - set(USED_BY_OTHERS)
    imported = {name.partition(".")[0] for source in program() for name in source.imported}
    assert {name for name in wanted if IMPORTED_AS.get(name, name) not in imported} == set()
