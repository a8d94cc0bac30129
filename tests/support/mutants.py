"""For every evidence check one change to a real cycle that it must catch, and what takes its source away.

A mutant is forged with the gateway's own keys: everything that cites what was changed follows, so that the one wrong
thing is what the check is about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compliance.checks.check import Source
from tests.support.forgeries import Story, Told

PAST = "2020-01-01T00:00:00Z"
NOWHERE = "sha256:" + "0" * 64
REFUSED = 2
"""The release that never left: nobody holds a card of it, so its certificate may become unreadable."""

Change = Callable[[Story], object]


def _set(type_: str, *path: str, to: Any, **where: Any) -> Change:
    """Set a member of the first entry of a type; `path` leads to it."""

    def change(story: Story) -> None:
        target: Any = story.first(type_, **where).fields
        for name in path[:-1]:
            target = target[int(name)] if isinstance(target, list) else target[name]
        target[path[-1]] = to(story) if callable(to) else to

    return change


def _without(type_: str, **where: Any) -> Change:
    """Leave out the first entry of a type."""
    return lambda story: story.remove(story.first(type_, **where))


def _certificate(*path: str, to: Any, of: int = 0) -> Change:
    """Set a member of a certificate's predicate, the first unless told otherwise; `None` takes it out."""

    def change(story: Story) -> None:
        release = story.of("release:held")[of].fields["release"]
        target = story.certificates[release]["predicate"]
        for name in path[:-1]:
            target = target[name]
        if to is None:
            del target[path[-1]]
        else:
            target[path[-1]] = to

    return change


def _decision(story: Story, action: str, verdict: str = "allow") -> Told:
    """The first decision of an action with a verdict."""
    made = story.of("decision:made")
    return next(d for d in made if d.fields["request"]["action"] == action and d.fields["verdict"] == verdict)


def _who(role: str) -> Callable[[Story], str]:
    """The first principal that was given a role."""
    return lambda story: str(story.first("role:assigned", role=role).fields["principal"])


def _asked(action: str, member: str, to: Any) -> Change:
    """Set a fact of the first allowed request of an action."""

    def change(story: Story) -> None:
        request = _decision(story, action).fields["request"]
        request[member] = to(story) if callable(to) else to

    return change


def _undecided(action: str) -> Change:
    """Leave out the first decision that allowed an action."""
    return lambda story: story.remove(_decision(story, action))


def _actor(story: Story) -> None:
    story.first("grant:created").payload["actor"]["roles"] = ["admin"]


def _clock(story: Story) -> None:
    story.entries[-1].payload["time"] = PAST


def _verdict(story: Story) -> None:
    _decision(story, "job:quote", "deny").fields["reason"] = "grant-expired"


def _on_a_refusal(story: Story) -> None:
    story.first("release:fetched").fields["decision"] = _decision(story, "job:quote", "deny").fields["decision"]


def _behind_a_fetch(story: Story) -> Told:
    """The decision that the first hand-out cites; evaluations ask for the same right and hand nothing out."""
    return story.first("decision:made", decision=story.first("release:fetched").fields["decision"])


def _fetched_another(story: Story) -> None:
    _behind_a_fetch(story).fields["request"]["release"] = story.of("release:held")[1].fields["release"]


def _other_key(story: Story) -> None:
    first, second = story.of("version:sealed")[:2]
    second.fields["dek"] = first.fields["dek"]


def _incident(story: Story) -> None:
    """A job's self-test failed, and the job went on as if nothing had happened."""
    asked = story.first("job:requested")
    incident = story.first("job:started").another()
    incident.payload["type"] = "incident:opened"
    incident.payload["fields"] = {
        "checks": ["noise-variance"],
        **{name: asked.fields[name] for name in ("dataset", "job", "population")},
    }
    story.insert_after(story.first("job:started"), incident)


def _overdrawn(story: Story) -> None:
    """One more reservation than the budget holds: its price is true, and its number follows."""
    budget = story.first("population:created")
    spent = story.first("budget:charged").fields["charges"][0]["price"]
    budget.fields["capacity"] = spent[:-1] + "0"


MUTANTS: Mapping[str, tuple[Change, ...]] = {
    "log.known": (_set("log:read", "scope", to="everything"), _set("log:read", "count", to="5")),
    "log.clock": (_clock,),
    "log.actors": (_actor, _without("role:assigned", role="trainer")),
    "log.readings": (
        _undecided("log:read"),
        _set("report:read", "decision", to=lambda s: _decision(s, "log:read").fields["decision"]),
    ),
    "decisions.replayed": (_verdict, _set("grant:created", "obligations", "trainer_share", to="0.5")),
    "policy.whole": (_without("purpose:defined", purpose="marketing"), _set("grant:created", "epoch", to=99)),
    "policy.enacted": (_undecided("grant:create"), _undecided("population:create"), _undecided("dataset:upload")),
    "decisions.denials": (_on_a_refusal,),
    "duties.roles": (_set("role:assigned", "principal", to=_who("auditor"), role="owner"),),
    "duties.trainer": (_set("dataset:registered", "owner", to=_who("trainer")),),
    "duties.approver": (
        _set("approval:given", "approval", "approver", to=_who("trainer")),
        _set("approval:given", "approval", "approver", to=_who("checker")),
    ),
    "duties.door-keeper": (
        _asked("release:check", "principal", _who("trainer")),
        _set("release:checked", "automatic", to=True),
    ),
    "approvals.given": (
        _without("approval:given"),
        _set("approval:given", "approval", "verdict", to="refused"),
        _set("approval:given", "approval", "request_digest", to=NOWHERE),
        _set("approval:given", "approval", "until", to=PAST),
    ),
    "basis.at-use": (
        _set("dataset:registered", "basis_until", to=PAST),
        _set("dataset:registered", "legal_basis", to="not-personal-data"),
    ),
    "purpose.at-use": (_set("dataset:registered", "purposes", to=["marketing"]),),
    "grants.at-use": (
        _set("grant:created", "until", to=PAST),
        _set("grant:created", "job_kinds", to=["evaluation"]),
        _set("grant:created", "purpose", to="marketing"),
        _set("grant:created", "principal", to=_who("checker")),
        _set("grant:created", "obligations", "max_epsilon", to="0.1"),
    ),
    "retention.kept": (_set("dataset:registered", "retention_until", to=PAST),),
    "budget.conserved": (_without("budget:voided"), _without("budget:touched"), _overdrawn),
    "budget.priced": (
        _set("budget:charged", "charges", "0", "price", to="0.1"),
        _set("budget:reserved", "holds", "0", "price", to="0.9"),
        _set("population:created", "capacity", to="9"),
    ),
    "budget.capped": (_set("budget:reserved", "trainer_share", to="0.001"),),
    "budget.refused": (_set("budget:refused", "limits", "0", "requested", to="0.1"),),
    "runs.decided": (
        _set("budget:reserved", "decision_leaf", to=NOWHERE),
        _set("budget:reserved", "request", to=NOWHERE),
        _undecided("job:submit"),
    ),
    "runs.opened": (_without("budget:touched"), _set("budget:reserved", "manifest", to=NOWHERE)),
    "runs.charged": (_without("budget:charged"), _set("job:ended", "steps_started", to=41)),
    "runs.tested": (_incident, _certificate("self_test", to={"checks": [], "ran": False})),
    "releases.charged": (_set("job:ended", "end", to="failed"), _without("release:held"), _without("budget:charged")),
    "releases.desk": (
        _without("release:checked"),
        _set("release:published", "artifact", to=NOWHERE),
        _without("release:published"),
    ),
    "releases.fetched": (
        lambda story: story.remove(_behind_a_fetch(story)),
        _fetched_another,
    ),
    "releases.exact": (_certificate("uncovered_since", to=2),),
    "certificates.complete": (
        _certificate("engine", to=None, of=REFUSED),
        _certificate("not_covered", to=[], of=REFUSED),
        _certificate("request", to=NOWHERE),
    ),
    "certificates.recomputed": (
        _certificate("this_job_alone", "epsilon", to="1.9"),
        _certificate("this_job_alone", "unamplified_epsilon", to="1.9"),
        _certificate("guarantee", "before", to="0.5"),
    ),
    "certificates.agreed": (
        _certificate("agreement", "rdp", to="0.34"),
        _certificate("agreement", "order", to=7),
        _certificate("this_job_alone", "pld_epsilon", to="2.1"),
    ),
    "certificates.anchored": (
        _certificate("evidence", "charge", to=NOWHERE),
        _certificate("evidence", "origin", to="another.example/log"),
    ),
    "keys.sealed": (_other_key, _set("dek:created", "version", to="ver_" + "a" * 26, purpose="version")),
    "keys.uploads": (_without("dek:destroyed"), _without("version:staged")),
    "keys.versions": (_set("dek:created", "kek_version", to=2),),
    "keys.table": (_without("dek:destroyed"), _set("evidence:snapshot", "items", to=1)),
}
"""Changes of the history, by check. Each of them alone must make the check FAIL."""


def _flip_a_hash(bundle: Path) -> None:
    (tile,) = (bundle / "audit/tile/0").rglob("*/*")
    data = bytearray(tile.read_bytes())
    data[40] ^= 1
    tile.write_bytes(data)


def _lose_a_payload(bundle: Path) -> None:
    file = bundle / "audit/payloads/000000.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:50] + lines[51:]))


DAMAGES: Mapping[str, Callable[[Path], None]] = {"log.chain": _flip_a_hash, "log.complete": _lose_a_payload}
"""What happens to the files of an archive, for the checks that are about files."""

BEGINS_WITH: Mapping[Source, tuple[str, ...]] = {
    Source.POLICY: ("tenant:created",),
    Source.DECISIONS: ("decision:made",),
    Source.DATASETS: ("dataset:registered",),
    Source.LEDGER: ("population:created",),
    Source.JOBS: ("job:requested",),
    Source.RELEASES: ("release:held",),
    Source.KEYS: ("dek:created",),
    Source.KEY_TABLE: ("evidence:snapshot",),
}
"""Events without which a source is not there."""


def benign(story: Story) -> None:
    """Noise that breaks no rule: another refusal, another reading, and somebody who asks twice."""
    refusal, leave = _decision(story, "log:export", "deny"), _decision(story, "log:read")
    for made in (refusal, leave):
        again = made.another()
        again.fields["decision"] = made.fields["decision"][:-3] + "aaa"
        story.insert_after(made, again)


def of_nothing(story: Story) -> dict[str, bytes]:
    """The key table written down before there was any key: return the documents that belong to it."""
    from compliance.snapshots import KeyTable
    from kernel.ids import TenantId

    table = KeyTable(tenant=TenantId(story.entries[0].payload["tenant"]), current=1, destroyed=(), keys=())
    taken = story.first("evidence:snapshot")
    taken.fields.update(digest=str(table.digest), items=0)
    story.remove(taken)
    story.insert_after(story.first("population:created"), taken)
    return {f"evidence/{table.digest.hex}.json": table.to_bytes()}


def shown(story: Story) -> str:
    """A story as text, for a failing test."""
    return "\n".join(f"{i} {e.type} {json.dumps(e.fields)[:120]}" for i, e in enumerate(story.entries))
