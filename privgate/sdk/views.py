"""What the gateway answers and what has no verbs of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Self

from privgate.sdk.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(View):
    """Who you are at this gateway."""

    NOUN: ClassVar[str] = "identity"
    tenant: str
    principal: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal(View):
    """Somebody who was let in."""

    NOUN: ClassVar[str] = "principal"
    COLUMNS: ClassVar[tuple[str, ...]] = ("principal", "name", "roles", "enabled")
    principal: str
    name: str | None
    roles: tuple[str, ...]
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(View):
    """A fresh access token. It is not printed: take `token`, hand it over, forget it."""

    NOUN: ClassVar[str] = "token"
    principal: str
    credential: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose(View):
    """A purpose and what it is part of."""

    NOUN: ClassVar[str] = "purpose"
    COLUMNS: ClassVar[tuple[str, ...]] = ("purpose", "within")
    purpose: str
    within: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(View):
    """The tenant's policy at an epoch."""

    NOUN: ClassVar[str] = "policy"
    epoch: int
    digest: str
    policy: Mapping[str, Any]

    def lines(self) -> list[tuple[str, object]]:
        """The policy in sentences; the whole of it is in `policy`."""
        kinds: dict[str, list[str]] = {}
        for needed in self.policy.get("approvals", ()):
            kinds.setdefault(needed["sensitivity"], []).append(needed["job_kind"])
        waits = [f"{', '.join(named)} on {sensitivity} data" for sensitivity, named in kinds.items()]
        leaves = [
            f"up to epsilon {most['epsilon']} from {most['sensitivity']} data"
            for most in self.policy.get("ceilings", ())
        ]
        return [
            ("epoch", self.epoch),
            ("digest", self.digest),
            ("waits for its owner", "; ".join(waits) or "nothing"),
            ("leaves unchecked", ", ".join(leaves) or "nothing"),
            ("checked by", ", ".join(self.policy.get("checked_by", ())) or "nobody"),
        ]

    def beyond(self, grant: Grant, sensitivity: str) -> list[str]:
        """What holds under a grant although the grant does not say it: the policy may be stricter, never laxer."""
        return [*self._approvals(grant, sensitivity), *self._ceiling(grant, sensitivity)]

    def _approvals(self, grant: Grant, sensitivity: str) -> list[str]:
        asked = {a["job_kind"] for a in self.policy.get("approvals", ()) if a["sensitivity"] == sensitivity}
        kinds = [kind for kind in grant.job_kinds if kind in asked]
        if grant.obligations.get("approval_required") or not kinds:
            return []
        asks = f"the tenant's policy does, of {', '.join(kinds)} on {sensitivity} data"
        return [f"This grant asks for no approval; {asks}: such a job waits for its owner's `privgate jobs approve`."]

    def _ceiling(self, grant: Grant, sensitivity: str) -> list[str]:
        wanted = grant.obligations.get("auto_release_epsilon")
        if wanted is None:
            return []
        most = [c["epsilon"] for c in self.policy.get("ceilings", ()) if c["sensitivity"] == sensitivity]
        if not most:
            without = f"the tenant's policy has no ceiling for {sensitivity} data (`privgate policy set`)"
            return [f"Nothing is released automatically: {without}, so every release waits for its check."]
        if Decimal(most[0]) >= Decimal(wanted):
            return []
        return [f"Releases go automatically up to epsilon {most[0]}: the policy's ceiling for {sensitivity} data."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(View):
    """What is charged and held in one block of a population."""

    NOUN: ClassVar[str] = "block"
    COLUMNS: ClassVar[tuple[str, ...]] = ("block", "charged", "held")
    block: str
    charged: str
    held: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Population(View):
    """Who is protected, and what one of them may lose in total."""

    NOUN: ClassVar[str] = "population"
    COLUMNS: ClassVar[tuple[str, ...]] = ("population", "unit_noun", "epsilon", "delta", "spent_and_held", "retired")
    population: str
    owner: str
    unit_kind: str
    unit_noun: str
    unit_domain: str
    adjacency: str
    public_size: int
    holdout_share: str
    epsilon: str
    delta: str
    order: int
    capacity: str
    committed: str
    blocks: tuple[Block, ...]
    retired: bool
    uncovered_since: int | None
    odds: int | None
    ledger_seq: int

    @classmethod
    def read(cls, body: Any, **bound: Any) -> Self:
        """Make a population and its blocks."""
        blocks = body.get("blocks", ()) if isinstance(body, Mapping) else ()
        # `super()` without arguments looks for the class before `slots=True` replaced it.
        return super(Population, cls).read(body, blocks=tuple(Block.read(block) for block in blocks), **bound)

    @property
    def homes(self) -> int:
        """How many home blocks there are: people who appear from here on are at home in the last."""
        return len(self.blocks) // 2

    @property
    def spent_and_held(self) -> str:
        """The part of the budget that is charged or held in the fullest block, in per cent, rounded up."""
        share = Decimal(self.committed) / Decimal(self.capacity)
        return f"{(share * 100).quantize(Decimal('0.1'), rounding='ROUND_CEILING')} %"

    def lines(self) -> list[tuple[str, object]]:
        """The population as one would say it."""
        said = "-" if self.odds is None else f"at most {self.odds} times in 100, once all of it is spent"
        told: list[tuple[str, object]] = []
        for name, value in super(Population, self).lines():
            if name == "blocks":
                told += [
                    (f"block {block.block}", f"{block.charged} charged, {block.held} held") for block in self.blocks
                ]
            else:
                told.append((name, said if name == "odds" else value))
        return told

    @property
    def in_odds(self) -> str:
        """What the whole budget means, in words; that it means nothing any more once an exact result left."""
        from privacy.accounting.odds import sentence

        if self.odds is None:
            return "An exact result left this population: its budget says nothing about that."
        return sentence(self.unit_noun, self.odds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(View):
    """An owner's permission for one principal, one dataset, one purpose, until a date."""

    NOUN: ClassVar[str] = "grant"
    COLUMNS: ClassVar[tuple[str, ...]] = ("grant", "principal", "dataset", "purpose", "until", "job_kinds", "state")
    grant: str
    principal: str
    dataset: str
    purpose: str
    until: str
    job_kinds: tuple[str, ...]
    obligations: Mapping[str, Any]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(View):
    """An upload, for its owner alone: where it stands, what was wrong with it, or how much it holds."""

    NOUN: ClassVar[str] = "version"
    COLUMNS: ClassVar[tuple[str, ...]] = ("version", "state", "created_at")
    version: str
    dataset: str
    state: str
    created_at: str
    problems: Mapping[str, Any] | None
    rows: Mapping[str, int] | None

    @property
    def ended(self) -> bool:
        """Whether it is sealed, refused or erased."""
        return self.state in ("sealed", "refused", "erased")

    @property
    def first_problem(self) -> str | None:
        """The first thing that was wrong, in words."""
        found = (self.problems or {}).get("problems", ())
        return problem_in_words(found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(View):
    """A compliance report that was issued."""

    NOUN: ClassVar[str] = "report"
    COLUMNS: ClassVar[tuple[str, ...]] = ("report", "digest", "created_at")
    report: str
    digest: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry(View):
    """An entry of the tenant in the log: its index, its payload, and the salt that opens its leaf."""

    NOUN: ClassVar[str] = "log entry"
    COLUMNS: ClassVar[tuple[str, ...]] = ("index", "type")
    index: int
    payload: Mapping[str, Any]
    salt: str = field(repr=False)

    @property
    def type(self) -> str:
        """The event's type, for example `job:queued`."""
        return str(self.payload.get("type", ""))


def problem_in_words(problem: Mapping[str, Any]) -> str:
    """A problem of an upload: its place and its rule; there is never a value in it."""
    named = [f"{name} {value}" for name, value in problem.items() if name != "rule" and value is not None]
    return ", ".join([*named, str(problem.get("rule", "broken rule"))])
