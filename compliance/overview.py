"""What a report tells beside its verdicts: who is protected, what was spent, what left, what was refused. Pure.

Rules
-----
1. Identifiers, enums, amounts, counts of acts and times; never a count of rows or units beyond the public size that
   the owner declared.
2. Lists are sorted by what they say, so that the same history gives the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from compliance.certificates import certified
from compliance.checks.budgets import ledgers
from compliance.history import Anything, History
from kernel.clock import format_time
from kernel.events import Event
from kernel.ids import DatasetId, ReleaseId
from policies.events import (
    DatasetMoved,
    DatasetRegistered,
    DecisionMade,
    PrincipalDisabled,
    PrincipalEnrolled,
    RoleAssigned,
    RoleRemoved,
)
from policies.vocabulary import DatasetState, Role, Verdict
from privacy.budget.fold import LedgerState
from privacy.events.releases import ReleaseHeld, ReleasePublished, ReleaseRecalled, ReleaseRefused
from privacy.events.sealing import DekCreated, DekDestroyed, KeyPurpose
from privacy.release.desk import ReleaseState

_STATE_AFTER: Mapping[type, ReleaseState] = {
    ReleaseHeld: ReleaseState.HELD,
    ReleasePublished: ReleaseState.RELEASED,
    ReleaseRefused: ReleaseState.REFUSED,
    ReleaseRecalled: ReleaseState.RECALLED,
}


def overview(history: History) -> dict[str, Any]:
    """Everything of a report that is not a verdict."""
    return {
        "datasets": _datasets(history),
        "events": _events(history),
        "keys": _keys(history),
        "people": _people(history),
        "populations": [_population(state) for _, state in sorted(ledgers(history).ledgers.items())],
        "refusals": _refusals(history),
        "releases": _releases(history),
    }


def _events(history: History) -> list[dict[str, Any]]:
    counted = Counter(_type(e.event) for e in history.entries if e.index >= history.from_size)
    return [{"count": count, "type": name} for name, count in sorted(counted.items())]


def _type(event: Anything) -> str:
    return event.TYPE if isinstance(event, Event) else event.type


def _population(state: LedgerState) -> dict[str, Any]:
    account = state.account
    population, budget = account.population, account.population.budget
    body: dict[str, Any] = {
        "adjacency": population.adjacency.value,
        "blocks": [{"block": b.block.value, "charged": str(b.charged), "held": str(b.held)} for b in account.balances],
        "capacity": str(budget.capacity),
        "delta": str(budget.delta),
        "epsilon": str(budget.epsilon),
        "ledger_seq": account.ledger_seq,
        "order": budget.order,
        "owner": population.owner,
        "population": population.id,
        "public_size": population.public_size,
        "retired": account.retired,
        "unit": population.unit_noun,
    }
    since = account.uncovered_since
    return body if since is None else {**body, "uncovered_since": since}


def _datasets(history: History) -> list[dict[str, Any]]:
    states: dict[DatasetId, DatasetState] = {e.event.dataset: e.event.after for e in history.of(DatasetMoved)}
    return [
        _dataset(e.event, states.get(e.event.dataset, DatasetState.REGISTERED))
        for e in sorted(history.of(DatasetRegistered), key=lambda e: e.event.dataset)
    ]


def _dataset(facts: DatasetRegistered, state: DatasetState) -> dict[str, Any]:
    body: dict[str, Any] = {
        "basis_until": None if facts.basis_until is None else format_time(facts.basis_until),
        "dataset": facts.dataset,
        "legal_basis": facts.legal_basis.value,
        "owner": facts.owner,
        "population": facts.population,
        "purposes": list(facts.purposes),
        "retention_until": format_time(facts.retention_until),
        "sensitivity": facts.sensitivity.value,
        "special_condition": None if facts.special_condition is None else facts.special_condition.value,
        "state": state.value,
    }
    return {name: value for name, value in body.items() if value is not None}


def _releases(history: History) -> list[dict[str, Any]]:
    states: dict[ReleaseId, ReleaseState] = {}
    for entered in history.of(Event):
        after = _STATE_AFTER.get(type(entered.event))
        if after is not None:
            states[getattr(entered.event, "release")] = after  # noqa: B009 - one of several classes that have it
    shown = []
    for release, found in certified(history).items():
        held = found.held
        body: dict[str, Any] = {
            "artifact": held.event.artifact,
            "certificate": held.event.certificate,
            "entry": held.index,
            "job": held.event.job,
            "kind": held.event.kind,
            "release": release,
            "state": states[release].value,
        }
        if found.genuine and found.disclosure is not None:
            body["exact"] = True
        if found.genuine and found.noised is not None:
            body["charges"] = [
                {
                    "charge": str(site.guarantee.charge),
                    "dataset": site.dataset,
                    "delta": str(site.this_job_alone.delta),
                    "epsilon_of_the_job_alone": str(site.this_job_alone.epsilon),
                    "ledger_seq": site.guarantee.ledger_seq,
                    "population": site.population.id,
                }
                for site in found.noised.predicate.sites
            ]
        if found.genuine and found.certificate is not None:
            stated = found.certificate.predicate
            body |= {
                "charge": str(stated.guarantee.charge),
                "dataset": stated.dataset.id,
                "delta": str(stated.this_job_alone.delta),
                "epsilon_of_the_job_alone": str(stated.this_job_alone.epsilon),
                "ledger_seq": stated.guarantee.ledger_seq,
                "population": stated.population.id,
            }
        shown.append(body)
    return sorted(shown, key=lambda body: int(body["entry"]))


def _refusals(history: History) -> list[dict[str, Any]]:
    counted = Counter(
        (e.event.request.action.value, e.event.reason.value)
        for e in history.judged(DecisionMade)
        if e.event.verdict is Verdict.DENY
    )
    return [{"action": a, "count": count, "reason": reason} for (a, reason), count in sorted(counted.items())]


def _people(history: History) -> list[dict[str, Any]]:
    """How many principals hold each role at the end of the period; who they are is not in the log."""
    held: dict[str, set[Role]] = {}
    for entered in history.of(Event):
        match entered.event:
            case PrincipalEnrolled(principal=principal):
                held[principal] = set()
            case PrincipalDisabled(principal=principal):
                held.pop(principal, None)
            case RoleAssigned(principal=principal, role=role) if principal in held:
                held[principal].add(role)
            case RoleRemoved(principal=principal, role=role) if principal in held:
                held[principal].discard(role)
            case _:
                pass
    return [{"count": sum(role in roles for roles in held.values()), "role": role.value} for role in Role]


def _keys(history: History) -> list[dict[str, Any]]:
    destroyed = {e.event.dek for e in history.of(DekDestroyed)}
    created = [e.event for e in history.of(DekCreated)]
    return [
        {
            "created": sum(key.purpose is purpose for key in created),
            "destroyed": sum(key.purpose is purpose and key.dek in destroyed for key in created),
            "purpose": purpose.value,
        }
        for purpose in KeyPurpose
    ]
