"""One job's documents as they were judged, in the order of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kernel.ids import PartyId
from kernel.signing import PublicKey
from privacy.homomorphic.documents.endings import Final
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import Identity
from privacy.homomorphic.documents.rounds import RoundHeader, RoundResult
from privacy.homomorphic.documents.sums import GatewaySum
from privacy.homomorphic.envelope import Upload
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.plans import CollectionPlan
from privacy.homomorphic.requests.questions import question_of
from privacy.jobs.strict import one_of


@dataclass
class Case:
    """One job.

    Attributes:
        order: What was ordered, as its step judged it.
        known: The parties as they were enrolled.
        gateway: Keys of the gateway's certificates; none if the reader pinned none.
        key, rounds, uploads, sums, results, final: What was read of the documents that follow it.
    """

    order: Order
    known: Mapping[PartyId, Identity]
    gateway: tuple[PublicKey, ...] = ()
    key: JobKey | None = None
    rounds: dict[int, RoundHeader] = field(default_factory=dict)
    uploads: dict[tuple[int, PartyId], Upload] = field(default_factory=dict)
    sums: dict[int, GatewaySum] = field(default_factory=dict)
    results: dict[int, RoundResult] = field(default_factory=dict)
    final: Final | None = None

    @cached_property
    def plan(self) -> CollectionPlan:
        """What every party computed by; raise `InvalidError` if kind or plan is none."""
        noised = self.order.outcome is Outcome.NOISED
        kind = one_of(CollectionKind, self.order.kind, "kind")
        return question_of(kind, noised=noised).read_plan(self.order.plan)

    @cached_property
    def layout(self) -> Layout:
        """Where a site's numbers lay."""
        return self.plan.layout(profile_of(self.order.profile), len(self.order.sites))

    @property
    def is_seeded(self) -> bool:
        """Whether the sites encrypted with the secret key."""
        return profile_of(self.order.profile).mode is Mode.SEEDED

    def keys_of(self, party: PartyId) -> list[PublicKey]:
        """What a party's documents are judged by; nothing if nobody enrolled it."""
        who = self.known.get(party)
        return [] if who is None else [who.identity]

    @property
    def holder(self) -> list[PublicKey]:
        """What the key holder's documents are judged by."""
        return self.keys_of(self.order.key_holder.party)
