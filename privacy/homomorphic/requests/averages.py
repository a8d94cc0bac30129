"""What a request for a federated model asks: which model, whose influence is bounded, and by how much.

Rules
-----
1. `bounded` is said or follows from the result: `person` with noise, `update` without (RULES 37).
2. A sum over persons is divided by `public_size`, which is declared: left out, it is what the populations declare
   together. Sites weigh alike there, and make one step a round.
3. The weights of updates are declared constants in the request, one for each dataset; left out, all weigh the same.
4. Only where there is noise may a site be missing in a round, and only among sites that weigh the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.homomorphic.averaging.plan import (
    LEAST_BITS,
    MOST_BITS,
    MOST_LOCAL_STEPS,
    Bounded,
    FederatedAverage,
    protected,
)
from privacy.homomorphic.averaging.plan import MOST_ROUNDS as AVERAGE_ROUNDS
from privacy.homomorphic.noise import MOST_SITES, Protected
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.plans import Sites
from privacy.homomorphic.requests.question import Declared, Question
from privacy.jobs.features import FeatureSpec, default_features
from privacy.jobs.model import Model, check_target, complete_model, model_from_json
from privacy.jobs.queries import list_of
from privacy.jobs.strict import one_of, text_of
from privacy.jobs.training_spec import Loss, loss_for

LARGEST_SIZE: Final = 10**9
_OF_PERSONS: Final = ("public_size",)
_OF_UPDATES: Final = ("local_steps", "weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageQuestion(Question):
    """A model of any graph, by summed gradients of persons or by averaged updates of sites.

    Attributes:
        features, model, loss: As of a training job; the model starts from zeros, constants or draws.
        bounded: A person's gradient, or a site's update.
        clip: The bound on its Euclidean norm in a round.
        rate: Of a step: the key holder's (`person`), or each of a site's own (`update`).
        rounds: How many there are, always.
        bits: Of a number, sign included.
        dropouts: How many sites may be missing in a round.
        public_size: Of `person`: what a sum over persons is divided by.
        local_steps, weights: Of `update`: a site's own steps in a round, and what each site weighs.
    """

    KIND: ClassVar = CollectionKind.HE_AGGREGATE
    ARTIFACT: ClassVar = "he-model.safetensors"
    NEEDED: ClassVar = ("clip", "rate", "rounds")
    OPTIONAL: ClassVar = (
        *("bits", "bounded", "dropouts", "features", "label", "loss", "model"),
        *_OF_PERSONS,
        *_OF_UPDATES,
    )
    FORM: ClassVar = ("bits", "bounded", "clip", "dropouts", "features", "loss", "model", "rate", "rounds")
    FORM_AT_TIMES: ClassVar = (*_OF_PERSONS, *_OF_UPDATES)

    features: FeatureSpec
    model: Model
    loss: Loss
    bounded: Bounded
    clip: Parameter
    rate: Parameter
    rounds: int
    bits: int = 16
    dropouts: int = 0
    public_size: int | None = None
    local_steps: int = 1
    weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        whole(1, AVERAGE_ROUNDS, rounds=self.rounds)
        whole(1, MOST_LOCAL_STEPS, local_steps=self.local_steps)
        whole(LEAST_BITS, MOST_BITS, bits=self.bits)
        whole(0, MOST_SITES, dropouts=self.dropouts)
        if self.public_size is not None:
            whole(1, LARGEST_SIZE, public_size=self.public_size)
        if self.loss is not loss_for(self.features.label.target):
            raise InvalidError("`loss` is the one of the label's kind", field="loss")
        check_target(self.model, self.features.label.target)
        if self.dropouts and len(set(self.weights)) > 1:
            raise InvalidError("where sites weigh differently none may be missing", field="dropouts")

    @property
    def gaussians(self) -> int:
        """One each round."""
        return self.rounds

    @property
    def protects(self) -> Protected:
        """A person, and where updates are bounded a site's whole update as well."""
        return protected(self.bounded)

    @property
    def missing(self) -> int:
        """As many as the request says."""
        return self.dropouts

    def weights_of(self, sites: int) -> tuple[int, ...]:
        """As the request says; raise `InvalidError` if that is not one for each site."""
        weights = self.weights or (1,) * sites
        if len(weights) != sites:
            raise InvalidError("`weights` has one whole number for each of `datasets`", field="weights")
        return weights

    def columns(self) -> frozenset[str]:
        """Features and label."""
        return frozenset({self.features.label.column, *(feature.column for feature in self.features.columns)})

    def plan(self, sites: Sites) -> FederatedAverage:
        """Rounds of one model's weights."""
        return FederatedAverage(
            features=self.features,
            schema=sites.schema,
            model=self.model,
            loss=self.loss,
            bounded=self.bounded,
            clip=self.clip,
            rounds=self.rounds,
            rate=self.rate,
            weights=self.weights_of(sites.count),
            public_size=self.public_size or 1,
            local_steps=self.local_steps,
            rows_per_unit=sites.rows_per_unit,
            bits=self.bits,
            noise=sites.noise,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""
        return {
            "bits": self.bits,
            "bounded": self.bounded.value,
            "clip": str(self.clip),
            "dropouts": self.dropouts,
            "features": self.features.to_json(),
            "loss": self.loss.value,
            "model": self.model.to_json(),
            "rate": str(self.rate),
            "rounds": self.rounds,
            **self._of_bounded(),
        }

    def _of_bounded(self) -> dict[str, Any]:
        if self.bounded is Bounded.PERSON:
            return {"public_size": self.public_size}
        return {"local_steps": self.local_steps, "weights": list(self.weights)}

    @classmethod
    def complete(cls, members: Mapping[str, Any], declared: Declared) -> Self:
        """Features in full, or the column to predict; the plain model and its loss; what else depends on `bounded`."""
        if ("features" in members) == ("label" in members):
            raise InvalidError("give either `features` or `label`, the name of the column to predict", field="label")
        if "features" in members:
            features = FeatureSpec.from_json(members["features"])
        else:
            features = default_features(declared.schema, text_of(members["label"], "label"))
        model = complete_model(members.get("model"), features, declared.schema)
        usual = Bounded.PERSON if declared.noised else Bounded.UPDATE
        bounded = one_of(Bounded, members.get("bounded", usual.value), "bounded")
        filled = {
            "bits": 16, "dropouts": 0, "loss": loss_for(features.label.target).value,
            **_filled(bounded, declared), **members,
        }  # fmt: skip
        written = {"bounded": bounded.value, "features": features.to_json(), "model": model.to_json()}
        return cls.from_json({**filled, **written})

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""
        bounded = one_of(Bounded, members["bounded"], "bounded")
        _check_bounded(bounded, members)
        return cls(
            features=FeatureSpec.from_json(members["features"]),
            model=model_from_json(members["model"]),
            loss=one_of(Loss, members["loss"], "loss"),
            bounded=bounded,
            clip=Parameter.of(text_of(members["clip"], "clip"), "clip"),
            rate=Parameter.of(text_of(members["rate"], "rate"), "rate"),
            rounds=members["rounds"],
            bits=members["bits"],
            dropouts=members["dropouts"],
            **_read(bounded, members),
        )

    @classmethod
    def read_plan(cls, body: Mapping[str, Any]) -> FederatedAverage:
        """Read an order's `plan`."""
        return FederatedAverage.from_json(body)


def _filled(bounded: Bounded, declared: Declared) -> dict[str, Any]:
    """What depends on whose influence is bounded, where a request leaves it out."""
    if bounded is Bounded.PERSON:
        return {"public_size": declared.public_size}
    return {"local_steps": 1, "weights": [1] * declared.sites}


def _check_bounded(bounded: Bounded, members: Mapping[str, Any]) -> None:
    """Return if a request has the members of what it bounds, and none of the other."""
    needed, other = (_OF_PERSONS, _OF_UPDATES) if bounded is Bounded.PERSON else (_OF_UPDATES, _OF_PERSONS)
    for name in other:
        if name in members:
            raise InvalidError(f"`{name}` is not of a request with `bounded` {bounded.value}", field=name)
    for name in needed:
        if name not in members:
            raise InvalidError(f"a request with `bounded` {bounded.value} has `{name}`", field=name)


def _read(bounded: Bounded, members: Mapping[str, Any]) -> dict[str, Any]:
    if bounded is Bounded.PERSON:
        return {"public_size": whole(1, LARGEST_SIZE, public_size=members["public_size"])}
    weights = tuple(list_of(members["weights"], "weights"))
    return {"local_steps": members["local_steps"], "weights": weights}
