"""All checks, by id. Adding one means adding its five fixtures and its place in a framework."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from compliance.checks import budgets, certificates, decisions, duties, jobs, keys, log, releases, uses
from compliance.checks.check import Check
from kernel.ids import Slug

CATALOGUE: Mapping[Slug, Check] = MappingProxyType(
    {
        check.id: check
        for family in (log, decisions, duties, uses, budgets, jobs, releases, certificates, keys)
        for check in family.CHECKS
    }
)
"""Every check, in the order of a report."""
