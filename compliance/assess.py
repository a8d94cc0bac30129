"""Assessing: checks to evidence, evidence to the verdict of a control. Pure.

Rules
-----
1. Every check runs, whether a framework asks for it or not: a report has the same evidence whatever it is mapped to.
2. A control is as good as the worst of its checks: FAIL before CANNOT TELL before PASS.
3. A check that fails itself (a programming error) ends the report. It is never turned into a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compliance.checks.catalogue import CATALOGUE
from compliance.controls import Control, Evidence, Framework, Verdict, worst
from compliance.history import History
from kernel.ids import Slug


@dataclass(frozen=True, slots=True)
class Assessment:
    """A control with the verdict that its evidence comes to."""

    control: Control
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class AssessedFramework:
    """A framework with all its controls assessed."""

    framework: Framework
    assessments: tuple[Assessment, ...]


def gather(history: History) -> Mapping[Slug, Evidence]:
    """Run every check, in the order of the catalogue."""
    return {check.id: check.run(history) for check in CATALOGUE.values()}


def assess(evidence: Mapping[Slug, Evidence], frameworks: Iterable[Framework]) -> tuple[AssessedFramework, ...]:
    """Assess every control of the frameworks."""
    return tuple(
        AssessedFramework(framework, tuple(_assessed(control, evidence) for control in framework.controls))
        for framework in frameworks
    )


def _assessed(control: Control, evidence: Mapping[Slug, Evidence]) -> Assessment:
    return Assessment(control, worst([evidence[check].verdict for check in control.checks]))
