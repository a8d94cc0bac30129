"""Frameworks as data: one YAML file each, read strictly.

Rules
-----
1. A framework is data: no code knows one by name.
2. Each control names at least one check that exists, and says what the checks leave open about it.
3. The digest covers what was read, not how it was written down.

Format: `docs/formats/report.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from compliance.checks.catalogue import CATALOGUE
from compliance.controls import Control, Framework
from kernel.canonical import digest_of
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import Slug

FOLDER = Path(__file__).parent / "frameworks"
_MEMBERS = {"framework", "title", "jurisdiction", "source", "mapped_on", "controls"}
_OF_CONTROL = {"id", "title", "requires", "checks", "not_shown"}


def names() -> tuple[Slug, ...]:
    """All frameworks that ship with this program, sorted."""
    return tuple(sorted(Slug(path.stem) for path in FOLDER.glob("*.yaml")))


def frameworks(wanted: Iterable[str] = ()) -> tuple[Framework, ...]:
    """The frameworks of these names, sorted and without repetition; all of them if none is named.

    Raises:
        NotFoundError: There is no framework of a name.
    """
    chosen = sorted({Slug(name) for name in wanted}) or list(names())
    return tuple(framework(name) for name in chosen)


@lru_cache(maxsize=64)
def framework(name: Slug) -> Framework:
    """One framework; raise `NotFoundError` if there is none of that name."""
    if name not in names():
        raise NotFoundError(f"there is no such framework; known are {', '.join(names())}", field="frameworks")
    return parse_framework((FOLDER / f"{name}.yaml").read_bytes())


def parse_framework(data: bytes) -> Framework:
    """Read a framework's YAML strictly; raise `InvalidError` for anything else."""
    try:
        body = yaml.safe_load(data)
    except yaml.YAMLError:
        raise InvalidError("a framework is a YAML document", field="framework") from None
    if not isinstance(body, dict) or set(body) != _MEMBERS or not isinstance(body["controls"], list):
        raise InvalidError(f"a framework has exactly the members {', '.join(sorted(_MEMBERS))}", field="framework")
    controls = tuple(_control(control) for control in body["controls"])
    if not controls or len({control.id for control in controls}) != len(controls):
        raise InvalidError("a framework lists each control once, at least one", field="controls")
    return Framework(
        id=Slug(body["framework"]),
        title=_text(body, "title"),
        jurisdiction=_text(body, "jurisdiction"),
        source=_text(body, "source"),
        mapped_on=_text(body, "mapped_on"),
        controls=controls,
        digest=digest_of("framework/v1", body),
    )


def _control(body: Any) -> Control:
    if not isinstance(body, dict) or set(body) != _OF_CONTROL:
        raise InvalidError(f"a control has exactly the members {', '.join(sorted(_OF_CONTROL))}", field="controls")
    checks = tuple(Slug(check) for check in body["checks"])
    if not checks or len(set(checks)) != len(checks) or any(check not in CATALOGUE for check in checks):
        raise InvalidError(
            "a control lists each of its checks once, at least one, and all of them exist", field="checks"
        )
    return Control(
        id=_text(body, "id"),
        title=_text(body, "title"),
        requires=_text(body, "requires"),
        checks=checks,
        not_shown=_text(body, "not_shown"),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str) or not value.strip():
        raise InvalidError(f"`{name}` is text", field=name)
    return value
