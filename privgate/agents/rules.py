"""What an agent's own people allow, whatever a gateway orders.

Rules
-----
1. An exact result is allowed only where the rules say so: the default is noised results alone (RULES 20).
2. A site believes that the other sites are real because their identities are pinned here as well, or, by a rule of its
   own, because the key holder pinned them.
3. What answers with noise cost together is limited here as well, by the site's own log: a gateway that forges orders
   would else average the noise away (`privgate.agents.spending`).
4. The key holder adds the uploads itself, unless these rules say that the gateway may: it is then trusted not to have
   one site's numbers decrypted (RULES 34).

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from kernel import canonical
from kernel.checks import positive, whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import Slug
from privacy.homomorphic.blind.spec import KIND as BLIND
from privacy.homomorphic.documents.order import LEAST_SITES, MOST_ROUNDS, MOST_SITES, Aggregation, Order, Outcome
from privacy.homomorphic.noise import NoiseBy, SiteNoise
from privacy.jobs.strict import members_of, one_of, text_of
from privgate.agents.refusing import RefusalError, Why

KINDS = tuple(Slug(kind) for kind in ("he.aggregate", "he.blind-logistic", "he.glm", "he.statistics"))
AT_FIRST = tuple(kind for kind in KINDS if kind != BLIND)
"""Whoever wants blind training says so: it needs nobody else's rows, and a gateway could order it by itself."""
LIMIT = 16 * 1024
E = TypeVar("E", bound=StrEnum)
_MEMBERS = (
    "kinds",
    "least_noise_multiplier",
    "least_sites",
    "outcomes",
    "partners",
    "requests",
    "rounds_at_most",
    "v",
)
_LATER = ("aggregation", "most_rho", "noise_by")
"""Rules that were not there at first: a file without them has the default."""
MOST_RHO = Parameter("0.15")
"""At delta 1e-6 an epsilon of about 3."""
LEAST_NOISE = Parameter("0.5")
"""With noise as large as half of what one person moves, hardly anything is hidden; people may want more."""


class Partners(StrEnum):
    """Whose word that the other sites are who they are a site takes."""

    PINNED = "pinned"
    KEY_HOLDER = "key-holder"


class Requests(StrEnum):
    """Which requests an agent takes orders for: whatever the gateway says is approved, or those allowed here."""

    ANY = "any"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one agent.

    Attributes:
        kinds: Which kinds of job it takes part in.
        outcomes: Exact results, noised ones, or both.
        least_sites: With fewer sites it does not take part.
        rounds_at_most: Nor in a job with more rounds.
        least_noise_multiplier: Nor with less noise than that, in a job with noise.
        most_rho: What all answers with noise may cost a population of this site together, in zCDP.
        partners: How a site believes in the other sites.
        requests: Whether its own people have to allow each request.
        aggregation: Who may add the uploads: the gateway only where these people say that they trust it with that.
        noise_by: Who may add noise: gateway and key holder only where these people say that they trust the two with it.
    """

    kinds: tuple[Slug, ...] = AT_FIRST
    outcomes: tuple[Outcome, ...] = (Outcome.NOISED,)
    least_sites: int = LEAST_SITES
    rounds_at_most: int = 20
    least_noise_multiplier: Parameter = LEAST_NOISE
    most_rho: Parameter = MOST_RHO
    partners: Partners = Partners.PINNED
    requests: Requests = Requests.ANY
    aggregation: tuple[Aggregation, ...] = (Aggregation.KEY_HOLDER,)
    noise_by: tuple[NoiseBy, ...] = (NoiseBy.SITES,)

    def __post_init__(self) -> None:
        whole(LEAST_SITES, MOST_SITES, least_sites=self.least_sites)
        whole(1, MOST_ROUNDS, rounds_at_most=self.rounds_at_most)
        positive(least_noise_multiplier=self.least_noise_multiplier.number)
        positive(most_rho=self.most_rho.number)
        if not set(self.kinds) <= set(KINDS):
            raise InvalidError("`kinds` are some of " + ", ".join(KINDS), field="kinds")

    def require_noise(self, noise: SiteNoise | None) -> None:
        """Return if noise, where there is any, is as much as the rules want; raise `RefusalError` otherwise."""
        if noise is not None and noise.by not in self.noise_by:
            raise RefusalError(Why.RULES, "`noise_by`")
        if noise is not None and noise.noise_multiplier.number < self.least_noise_multiplier.number:
            raise RefusalError(Why.RULES, "`least_noise_multiplier`")

    def require_rho(self, total: Decimal) -> None:
        """Return if answers with noise may cost that much together; raise `RefusalError` otherwise."""
        if total > self.most_rho.number:
            raise RefusalError(Why.RULES, "`most_rho`: too much was answered, or would be")

    def require(self, order: Order) -> None:
        """Return if the rules allow the order; raise `RefusalError` otherwise."""
        broken = {
            "kinds": order.kind not in self.kinds,
            "outcomes": order.outcome not in self.outcomes,
            "least_sites": len(order.sites) - order.dropouts < self.least_sites,
            "rounds_at_most": order.rounds_at_most > self.rounds_at_most,
            "aggregation": order.aggregation not in self.aggregation,
        }
        for rule, is_broken in broken.items():
            if is_broken:
                raise RefusalError(Why.RULES, f"`{rule}`")

    def require_blind(self) -> None:
        """Return if the rules allow blind training; raise `RefusalError` otherwise."""
        if BLIND not in self.kinds:
            raise RefusalError(Why.RULES, "`kinds`")

    def to_bytes(self) -> bytes:
        """Write the file."""
        return canonical.encode(
            {
                "aggregation": [who.value for who in self.aggregation],
                "noise_by": [who.value for who in self.noise_by],
                "kinds": list(self.kinds),
                "least_noise_multiplier": str(self.least_noise_multiplier),
                "least_sites": self.least_sites,
                "most_rho": str(self.most_rho),
                "outcomes": [outcome.value for outcome in self.outcomes],
                "partners": self.partners.value,
                "requests": self.requests.value,
                "rounds_at_most": self.rounds_at_most,
                "v": 1,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Rules:
        """Read the file; raise `InvalidError` otherwise."""
        members: Mapping[str, Any] = members_of(canonical.decode(data, limit=LIMIT), "rules", _MEMBERS, _LATER)
        whole(1, 1, v=members["v"])
        members = {"aggregation": [Aggregation.KEY_HOLDER.value], "noise_by": [NoiseBy.SITES.value], **members}
        for name in ("kinds", "outcomes"):
            if not isinstance(members[name], list) or len(members[name]) > len(KINDS):
                raise InvalidError(f"`{name}` must be a short list", field=name)
        return cls(
            kinds=tuple(Slug(kind) for kind in members["kinds"]),
            outcomes=tuple(one_of(Outcome, outcome, "outcomes") for outcome in members["outcomes"]),
            least_sites=members["least_sites"],
            rounds_at_most=members["rounds_at_most"],
            least_noise_multiplier=_parameter(members, "least_noise_multiplier"),
            most_rho=_parameter({"most_rho": MOST_RHO, **members}, "most_rho"),
            partners=one_of(Partners, members["partners"], "partners"),
            requests=one_of(Requests, members["requests"], "requests"),
            aggregation=_some(Aggregation, members, "aggregation"),
            noise_by=_some(NoiseBy, members, "noise_by"),
        )


def _some(kind: type[E], members: Mapping[str, Any], name: str) -> tuple[E, ...]:
    written = members[name]
    if not isinstance(written, list) or not 0 < len(written) <= len(kind):
        raise InvalidError(f"`{name}` must be a short list", field=name)
    return tuple(one_of(kind, who, name) for who in written)


def _parameter(members: Mapping[str, Any], name: str) -> Parameter:
    return Parameter.of(text_of(members[name], name), name)


def changed(rules: Rules, **given: Any) -> Rules:
    """The rules with what was given in place of what was there; raise `InvalidError` for what cannot be."""
    body = canonical.decode(rules.to_bytes(), limit=LIMIT)
    return Rules.from_bytes(
        canonical.encode(body | {name: value for name, value in given.items() if value is not None})
    )
