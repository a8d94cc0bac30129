"""Frameworks are data: every check that they name exists, every check serves one, nothing is half filled."""

from __future__ import annotations

import pytest
import yaml

from compliance.checks.catalogue import CATALOGUE
from compliance.controls import Framework
from compliance.framework_file import FOLDER, frameworks, names, parse_framework
from kernel.errors import InvalidError, NotFoundError

ALL = frameworks()


def _body(name: str = "gdpr") -> dict[str, object]:
    return dict(yaml.safe_load((FOLDER / f"{name}.yaml").read_bytes()))


def test_the_three_frameworks_are_there() -> None:
    """GDPR, PIPL and NIST 800-53."""
    assert names() == ("gdpr", "nist-800-53", "pipl")


@pytest.mark.parametrize("found", ALL, ids=lambda f: f.id)
def test_a_framework_is_named_as_its_file(found: Framework) -> None:
    """So that the name in a report leads to the file."""
    assert (FOLDER / f"{found.id}.yaml").exists()
    assert found.source.startswith("http")
    assert len(found.controls) >= 10


def test_every_check_serves_a_control() -> None:
    """A check that no framework asks for has no reader."""
    asked = {check for found in ALL for control in found.controls for check in control.checks}
    assert asked == set(CATALOGUE)


def test_every_framework_rests_on_checks_that_exist() -> None:
    """A control that names an unknown check is refused when it is read."""
    body = _body()
    body["controls"][0]["checks"] = ["log.chain", "log.dreams"]  # type: ignore[index]
    with pytest.raises(InvalidError, match="all of them exist"):
        parse_framework(yaml.safe_dump(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"controls": []},
        {"controls": "none"},
        {"title": ""},
        {"further": "member"},
        {"mapped_on": 2026},
    ],
)
def test_a_half_filled_framework_is_refused(change: dict[str, object]) -> None:
    """Unknown members, empty texts and missing controls."""
    with pytest.raises(InvalidError):
        parse_framework(yaml.safe_dump(_body() | change).encode())


@pytest.mark.parametrize("missing", ["not_shown", "requires", "checks", "title", "id"])
def test_a_control_says_all_that_it_has_to(missing: str) -> None:
    """Above all what its evidence leaves open."""
    body = _body()
    del body["controls"][0][missing]  # type: ignore[index]
    with pytest.raises(InvalidError):
        parse_framework(yaml.safe_dump(body).encode())


def test_a_control_is_listed_once() -> None:
    """Twice would count it twice."""
    body = _body()
    body["controls"] = [*body["controls"], body["controls"][0]]  # type: ignore[misc, index]
    with pytest.raises(InvalidError, match="once"):
        parse_framework(yaml.safe_dump(body).encode())


@pytest.mark.parametrize("data", [b"[]", b"a: [", b"!!python/object/apply:os.system ['true']"])
def test_what_is_no_framework_is_refused(data: bytes) -> None:
    """Not YAML, not an object, or YAML that would run something."""
    with pytest.raises(InvalidError):
        parse_framework(data)


def test_the_digest_covers_every_word_and_no_layout() -> None:
    """Another word is another digest; another way to write the same is the same."""
    body = _body()
    same = parse_framework(yaml.safe_dump(body, sort_keys=True).encode())
    assert same.digest == frameworks(["gdpr"])[0].digest
    body["controls"][0]["not_shown"] += " And more."  # type: ignore[index]
    assert parse_framework(yaml.safe_dump(body).encode()).digest != same.digest


def test_an_unknown_framework_is_refused_with_what_there_is() -> None:
    """Whoever mistypes a name gets the names."""
    with pytest.raises(NotFoundError, match="gdpr"):
        frameworks(["gpdr"])
