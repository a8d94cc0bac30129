"""One distribution with plain top-level names: they must be ours alone, and nothing else may travel with them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.sources import PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_of_ours_is_in_the_distribution() -> None:
    """A package that is not listed would be missing after an install; one too many would ship tests."""
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"benchmarks", "tests"} == set(PACKAGES)


def test_no_name_of_ours_is_the_standard_librarys() -> None:
    """Otherwise one of the two could not be imported."""
    assert set(PACKAGES) & sys.stdlib_module_names == set()


def test_no_installed_distribution_brings_a_name_of_ours() -> None:
    """Plain names can collide; `gateway.wiring` refuses to start, and this says so earlier."""
    owners = metadata.packages_distributions()
    found = {name: sorted(set(owners.get(name, ())) - {"privgate"}) for name in PACKAGES}
    assert {name: others for name, others in found.items() if others} == {}


def test_no_file_on_the_path_shadows_a_name_of_ours() -> None:
    """The same for loose files and folders."""
    places = [Path(entry or ".") / name for entry in sys.path for name in PACKAGES]
    found = [place for place in places if place.is_dir() or place.with_suffix(".py").exists()]
    assert [str(place) for place in found if place.resolve().parent != ROOT] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_our_packages_and_no_test(wheel: zipfile.ZipFile) -> None:
    """`tests` would be a top-level name in every environment it is installed into."""
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    names = re.compile(r"(?:.*/)?(?:test_[^/]*|[^/]*_test|tests?|conftest)(?:/.*|\.[^/]*)")
    assert [name for name in wheel.namelist() if names.fullmatch(name)] == []


def test_the_wheel_holds_what_the_program_reads_at_run_time(wheel: zipfile.ZipFile) -> None:
    """Rule files, templates and framework tables are data beside the code; a wheel without them would not start."""
    kept = {".py", ".pyc"}
    data = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in kept
    }
    assert data - set(wheel.namelist()) == set()
    assert "policies/rules/roles.csv" in data


def test_the_lock_has_neither_addresses_nor_local_versions() -> None:
    """`torch==2.13.0` is the same line for every machine; an address or `+cpu` would tie it to one."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert [line for line in lines if "+" in line or "@" in line or "/" in line] == []
    assert all(line.count("==") == 1 for line in lines)


def test_the_lock_names_every_dependency() -> None:
    """What is not in the lock installs in whatever version is newest that day."""
    locked = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()
    }
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(one for group in project["optional-dependencies"].values() for one in group)]
    assert {name for name in map(distribution, wanted) if name not in locked} == set()


def distribution(requirement: str) -> str:
    """`uvicorn[standard]>=0.50` -> `uvicorn`."""
    for mark in "[<>=!~; ":
        requirement = requirement.partition(mark)[0]
    return requirement.lower().replace("_", "-")
