"""The plan of a federated model: what is trained, what is bounded, how large numbers are, what noise costs. Pure.

Rules
-----
1. The clip has UNIT steps (16 bits with sign), by default. With noise that is far finer than sigma / 32 (RULES 38):
   each vector is rounded by itself, and where thousands of numbers share a clip, coarser steps would round them all
   away.
2. `person`: every round sums over all persons, each shortened to the clip; nobody is sampled. `update`: every round
   adds the sites' updates after some local steps, each shortened to the clip, times the site's declared weight.
3. With noise each round is one Gaussian of multiplier z for one person more or less. With `person` that moves a sum by
   a clip. With `update` it may turn the site's whole update round, which moves the sum by two clips: so the noise is z
   times two clips there, and a whole site's update is protected as well.

Form: docs/formats/he-averaging.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Self

from kernel.checks import whole, within
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.graph.check import CheckedGraph
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import LEAST_SITES, MOST_SITES, Addition, Protected, SiteNoise
from privacy.homomorphic.profiles import Profile
from privacy.jobs.features import FeatureSpec
from privacy.jobs.model import Model, checked_model, initial_of, model_from_json
from privacy.jobs.queries import list_of
from privacy.jobs.strict import members_of, one_of, text_of
from privacy.jobs.training_spec import Loss
from privacy.schema import TableSchema
from privacy.units import LARGEST_ROWS_PER_UNIT

MOST_ROUNDS: Final = 200
MOST_LOCAL_STEPS: Final = 100
MOST_PERSONS: Final = 2**20
MOST_WEIGHT: Final = 1_000_000
LEAST_BITS, MOST_BITS = 12, 24
_LEAST, _MOST = Decimal("1e-6"), Decimal(10**6)
_UP = Context(prec=34, rounding=ROUND_CEILING)
_MEMBERS: Final = (
    "bits", "bounded", "clip", "features", "local_steps", "loss", "model", "most_persons", "noise", "public_size",
    "rate", "rounds", "rows_per_unit", "schema", "weights",
)  # fmt: skip


class Bounded(StrEnum):
    """Whose influence on a round is bounded."""

    PERSON = "person"
    UPDATE = "update"


def protected(bounded: Bounded) -> Protected:
    """Whom noise protects where that is bounded."""
    return Protected.PERSON if bounded is Bounded.PERSON else Protected.UPDATE


@dataclass(frozen=True, kw_only=True)
class FederatedAverage:
    """A federated model of any graph.

    Attributes:
        features, schema: What a row becomes, the same at every site.
        model, loss: What is trained, and on what loss.
        bounded: A person's gradient, or a site's update.
        clip: The bound on its Euclidean norm.
        rounds: How many rounds.
        rate: Of a step: the key holder's (`person`), or each local one (`update`).
        local_steps: How many steps a site takes in a round; 1 for `person`.
        weights: For each site, in the order's order: a declared constant; 1 for each with `person`.
        public_size: Persons at all sites, declared: what a sum over persons is divided by.
        most_persons: More persons no site may have.
        rows_per_unit: The most rows of a person that count.
        bits: Of a number, sign included.
        noise: What the sites add; nothing for exact sums.
    """

    features: FeatureSpec
    schema: TableSchema
    model: Model
    loss: Loss
    bounded: Bounded
    clip: Parameter
    rounds: int
    rate: Parameter
    weights: tuple[int, ...]
    public_size: int
    local_steps: int = 1
    most_persons: int = MOST_PERSONS
    rows_per_unit: int = 1
    bits: int = 16
    noise: SiteNoise | None = field(default=None)

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, rounds=self.rounds)
        whole(1, MOST_LOCAL_STEPS, local_steps=self.local_steps)
        whole(1, 10**9, public_size=self.public_size)
        whole(1, MOST_PERSONS, most_persons=self.most_persons)
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        whole(LEAST_BITS, MOST_BITS, bits=self.bits)
        whole(LEAST_SITES, MOST_SITES, weights=len(self.weights))
        within(_LEAST, _MOST, clip=self.clip.number)
        within(_LEAST, _MOST, rate=self.rate.number)
        for weight in self.weights:
            whole(1, MOST_WEIGHT, weights=weight)
        if self.bounded is Bounded.PERSON and (self.local_steps > 1 or set(self.weights) != {1}):
            raise InvalidError("a sum over persons has one step a round, and sites of weight 1", field="bounded")
        if self.noise is not None and self.noise.sites != len(self.weights):
            raise InvalidError("every site adds its share of the noise", field="noise")
        if initial_of(self.model) is not None:
            raise InvalidError(
                "a federated model starts from zeros, constants or draws, not from given values", field="model"
            )
        self.features.check(self.schema)
        self.checked  # noqa: B018 - a model that does not fit is refused here

    @cached_property
    def checked(self) -> CheckedGraph:
        """The model's graph on these features."""
        label = self.features.label
        outputs = label.outputs(self.schema.column(label.column))
        return checked_model(self.model, self.features.width(self.schema), outputs)

    @property
    def unit(self) -> int:
        """How many steps the clip has."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def values(self) -> int:
        """How many numbers a site gives."""
        return self.checked.graph.weight_elements

    @property
    def moved(self) -> int:
        """The most by which one person more or less moves a site's numbers, in steps: in Euclidean norm."""
        return self.unit if self.bounded is Bounded.PERSON else 2 * self.unit

    @property
    def deviation(self) -> Parameter:
        """The priced deviation of the noise on each number, in steps; raise `InvalidError` without noise."""
        if self.noise is None:
            raise InvalidError("an exact sum has no noise", field="noise")
        return Parameter(_UP.multiply(self.noise.noise_multiplier.number, Decimal(self.moved)))

    @property
    def refinement(self) -> int:
        """How many finer steps a step has."""
        return 1 if self.noise is None else self.noise.refinement(self.deviation)

    @property
    def bound(self) -> int:
        """The most that a site's number can be in size without noise, in finer steps."""
        return self.unit * self.refinement * (self.most_persons if self.bounded is Bounded.PERSON else 1)

    @property
    def quantum(self) -> float:
        """What one finer step is."""
        return float(self.clip.number) / (self.unit * self.refinement)

    @property
    def protects(self) -> Protected:
        """Whom noise protects, as quote and certificate say it; exact sums protect nobody."""
        return protected(self.bounded)

    def share(self, place: int) -> float:
        """By what the update of a site is multiplied: its weight over the largest."""
        return self.weights[place] / max(self.weights)

    def layout(self, profile: Profile, sites: int) -> Layout:
        """Where a site's numbers lie; raise `InvalidError` if the profile cannot add so many sites' sums."""
        tail = 0 if self.noise is None else self.noise.tail(self.deviation, self.refinement)
        return Layout(profile=profile, values=self.values, bound=self.bound, summands=sites, tail=tail)

    def additions(self, number: int = 1) -> tuple[Addition, ...]:  # noqa: ARG002 - every round is alike
        """Which noise the numbers get; nothing for exact sums."""
        if self.noise is None:
            return ()
        bound = self.bound // self.refinement
        return (Addition(count=self.values, deviation=self.deviation, bound=bound, refined=self.refinement),)

    def uses(self) -> tuple[MechanismUse, ...]:
        """What is priced: a Gaussian for each round; nothing for exact sums, which are a disclosure."""
        if self.noise is None:
            return ()
        return (Gaussian(noise_multiplier=self.noise.noise_multiplier, count=self.rounds),)

    def to_json(self) -> dict[str, Any]:
        """What every party computes by."""
        return {
            "bits": self.bits,
            "bounded": self.bounded.value,
            "clip": str(self.clip),
            "features": self.features.to_json(),
            "local_steps": self.local_steps,
            "loss": self.loss.value,
            "model": self.model.to_json(),
            "most_persons": self.most_persons,
            "noise": None if self.noise is None else self.noise.to_json(),
            "public_size": self.public_size,
            "rate": str(self.rate),
            "rounds": self.rounds,
            "rows_per_unit": self.rows_per_unit,
            "schema": self.schema.to_json(),
            "weights": list(self.weights),
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = members_of(body, "plan", _MEMBERS)
        return cls(
            features=FeatureSpec.from_json(members["features"]),
            schema=TableSchema.from_json(members["schema"]),
            model=model_from_json(members["model"]),
            loss=one_of(Loss, members["loss"], "loss"),
            bounded=one_of(Bounded, members["bounded"], "bounded"),
            clip=Parameter.of(text_of(members["clip"], "clip"), "clip"),
            rate=Parameter.of(text_of(members["rate"], "rate"), "rate"),
            weights=tuple(list_of(members["weights"], "weights")),
            noise=None if members["noise"] is None else SiteNoise.from_json(members["noise"]),
            **{
                name: members[name]
                for name in ("bits", "local_steps", "most_persons", "public_size", "rounds", "rows_per_unit")
            },
        )
