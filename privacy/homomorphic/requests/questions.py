"""What each kind of job on data of sites asks: its own members, how they are completed, and the plan that follows.

A kind is added by a member of `CollectionKind`, a class here and a line in `QUESTIONS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.glm.families import Family, read_family
from privacy.homomorphic.averaging.plan import LEAST_BITS, MOST_BITS, MOST_LOCAL_STEPS, Bounded, FederatedAverage
from privacy.homomorphic.averaging.plan import MOST_ROUNDS as AVERAGE_ROUNDS
from privacy.homomorphic.glm.plan import MOST_ROUNDS, NO_RIDGE, ExactGlm
from privacy.homomorphic.requests.plans import CollectionPlan, Sites
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.jobs.asking import complete_query
from privacy.jobs.features import FeatureSpec, default_features
from privacy.jobs.glm_spec import features_of_short
from privacy.jobs.model import Model, check_target, complete_model, model_from_json
from privacy.jobs.queries import Query, list_of
from privacy.jobs.statistics_spec import MOST_QUERIES
from privacy.jobs.strict import one_of, text_of
from privacy.jobs.training_spec import Loss, loss_for
from privacy.schema import TableSchema


class CollectionKind(StrEnum):
    """What kinds of job on data of sites there are."""

    HE_AGGREGATE = "he.aggregate"
    HE_GLM = "he.glm"
    HE_STATISTICS = "he.statistics"


class Question(ABC):
    """What one kind asks. Subclasses are frozen dataclasses.

    Attributes:
        KIND: Which kind.
        ARTIFACT: The name of the file that is released.
        NEEDED, OPTIONAL: Members of a request in short form.
        FORM: Members in the final form.
    """

    __slots__ = ()
    KIND: ClassVar[CollectionKind]
    ARTIFACT: ClassVar[str]
    NEEDED: ClassVar[tuple[str, ...]]
    OPTIONAL: ClassVar[tuple[str, ...]]
    FORM: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def most_rounds(self) -> int:
        """The most results that may be decrypted."""

    @property
    def gaussians(self) -> int | None:
        """How many Gaussians a result with noise composes; nothing if this kind is exact alone."""
        return None

    @abstractmethod
    def columns(self) -> frozenset[str] | None:
        """Which columns it reads; nothing if it is all of them."""

    @abstractmethod
    def plan(self, sites: Sites) -> CollectionPlan:
        """What every party computes by; raise `InvalidError` if the question does not fit the schema."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""

    @classmethod
    @abstractmethod
    def complete(cls, members: Mapping[str, Any], schema: TableSchema) -> Self:
        """Fill in what a trainer left out."""

    @classmethod
    @abstractmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""

    @classmethod
    @abstractmethod
    def read_plan(cls, body: Mapping[str, Any]) -> CollectionPlan:
        """Read an order's `plan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmQuestion(Question):
    """A generalised linear model.

    Attributes:
        family: Linear, logistic or Poisson.
        features: Predictors and outcome.
        ridge: The penalty, as in `ExactGlm`.
        rounds: After which it ends unfinished.
    """

    KIND: ClassVar = CollectionKind.HE_GLM
    ARTIFACT: ClassVar = "he-glm.json"
    NEEDED: ClassVar = ("family",)
    OPTIONAL: ClassVar = ("features", "outcome", "predictors", "ridge", "most_rounds")
    FORM: ClassVar = ("family", "features", "most_rounds", "ridge")

    family: Family
    features: FeatureSpec
    ridge: Parameter = NO_RIDGE
    rounds: int = MOST_ROUNDS

    @property
    def most_rounds(self) -> int:
        """The most results that may be decrypted."""
        return self.rounds

    def columns(self) -> frozenset[str]:
        """Predictors and outcome."""
        return frozenset({self.features.label.column, *(feature.column for feature in self.features.columns)})

    def plan(self, sites: Sites) -> ExactGlm:
        """Newton steps by exact sums."""
        return ExactGlm(
            family=self.family,
            features=self.features,
            schema=sites.schema,
            ridge=self.ridge,
            most_rounds=self.rounds,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""
        return {
            "family": self.family.value,
            "features": self.features.to_json(),
            "most_rounds": self.rounds,
            "ridge": str(self.ridge),
        }

    @classmethod
    def complete(cls, members: Mapping[str, Any], schema: TableSchema) -> Self:
        """Features in full, or the names of outcome and predictors; no ridge, ten rounds."""
        family = read_family(members["family"])
        return cls(
            family=family,
            features=features_of_short(members, family, schema),
            ridge=Parameter.of(text_of(members.get("ridge", NO_RIDGE), "ridge"), "ridge"),
            rounds=whole(1, MOST_ROUNDS, most_rounds=members.get("most_rounds", MOST_ROUNDS)),
        )

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""
        return cls(
            family=one_of(Family, members["family"], "family"),
            features=FeatureSpec.from_json(members["features"]),
            ridge=Parameter.of(text_of(members["ridge"], "ridge"), "ridge"),
            rounds=whole(1, MOST_ROUNDS, most_rounds=members["most_rounds"]),
        )

    @classmethod
    def read_plan(cls, body: Mapping[str, Any]) -> ExactGlm:
        """Read an order's `plan`."""
        return ExactGlm.from_json(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsQuestion(Question):
    """Counts, histograms, sums, means, quantiles and covariances.

    Attributes:
        queries: As ordinary statistics have them.
        covariances: Lists of numeric columns, each list a matrix.
    """

    KIND: ClassVar = CollectionKind.HE_STATISTICS
    ARTIFACT: ClassVar = "he-statistics.json"
    NEEDED: ClassVar = ()
    OPTIONAL: ClassVar = ("queries", "covariances")
    FORM: ClassVar = ("covariances", "queries")

    queries: tuple[Query, ...] = ()
    covariances: tuple[tuple[str, ...], ...] = ()

    @property
    def most_rounds(self) -> int:
        """The most results that may be decrypted."""
        return 1

    @property
    def gaussians(self) -> int:
        """One: all vectors together cost what it costs."""
        return 1

    def columns(self) -> None:
        """All of them: which a query reads is the query's own to say."""
        return

    def plan(self, sites: Sites) -> FederatedStatistics:
        """Sums of whole numbers, in one round."""
        return FederatedStatistics(
            queries=self.queries,
            covariances=self.covariances,
            schema=sites.schema,
            rows_per_unit=sites.rows_per_unit,
            least_persons=sites.least_persons,
            noise=sites.noise,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""
        return {
            "covariances": [list(columns) for columns in self.covariances],
            "queries": [query.to_json() for query in self.queries],
        }

    @classmethod
    def complete(cls, members: Mapping[str, Any], schema: TableSchema) -> Self:
        """Queries may be short, as in ordinary statistics."""
        written = list_of(members.get("queries", []), "queries")
        if len(written) > MOST_QUERIES:
            raise InvalidError(f"`queries` has at most {MOST_QUERIES} queries", field="queries")
        queries = tuple(query for short in written for query in complete_query(short, schema))
        return cls(queries=queries, covariances=_matrices(members.get("covariances", [])))

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""
        return cls(
            queries=tuple(Query.from_json(query) for query in list_of(members["queries"], "queries")),
            covariances=_matrices(members["covariances"]),
        )

    @classmethod
    def read_plan(cls, body: Mapping[str, Any]) -> FederatedStatistics:
        """Read an order's `plan`."""
        return FederatedStatistics.from_json(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageQuestion(Question):
    """A model of any graph, by averaged updates.

    Attributes:
        features, model, loss: As of a training job; the model starts from zeros, constants or draws.
        clip: The bound on the Euclidean norm of a site's update in a round.
        rate, local_steps: Of a site's own steps.
        rounds: How many there are, always.
        bits: Of a number, sign included.
    """

    KIND: ClassVar = CollectionKind.HE_AGGREGATE
    ARTIFACT: ClassVar = "he-model.safetensors"
    NEEDED: ClassVar = ("clip", "rate", "rounds")
    OPTIONAL: ClassVar = ("bits", "features", "label", "local_steps", "loss", "model")
    FORM: ClassVar = ("bits", "clip", "features", "local_steps", "loss", "model", "rate", "rounds")

    features: FeatureSpec
    model: Model
    loss: Loss
    clip: Parameter
    rate: Parameter
    rounds: int
    local_steps: int = 1
    bits: int = 16

    @property
    def most_rounds(self) -> int:
        """The most results that may be decrypted."""
        return self.rounds

    def columns(self) -> frozenset[str]:
        """Features and label."""
        return frozenset({self.features.label.column, *(feature.column for feature in self.features.columns)})

    def plan(self, sites: Sites) -> FederatedAverage:
        """Updates of sites that all weigh the same; exact, so that declared sizes play no part."""
        return FederatedAverage(
            features=self.features,
            schema=sites.schema,
            model=self.model,
            loss=self.loss,
            bounded=Bounded.UPDATE,
            clip=self.clip,
            rounds=self.rounds,
            rate=self.rate,
            weights=(1,) * sites.count,
            public_size=1,
            local_steps=self.local_steps,
            rows_per_unit=sites.rows_per_unit,
            bits=self.bits,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""
        return {
            "bits": self.bits,
            "clip": str(self.clip),
            "features": self.features.to_json(),
            "local_steps": self.local_steps,
            "loss": self.loss.value,
            "model": self.model.to_json(),
            "rate": str(self.rate),
            "rounds": self.rounds,
        }

    @classmethod
    def complete(cls, members: Mapping[str, Any], schema: TableSchema) -> Self:
        """Features in full, or the column to predict; the plain model and the loss of its kind; one step, 16 bits."""
        if ("features" in members) == ("label" in members):
            raise InvalidError("give either `features` or `label`, the name of the column to predict", field="label")
        if "features" in members:
            features = FeatureSpec.from_json(members["features"])
        else:
            features = default_features(schema, text_of(members["label"], "label"))
        model = complete_model(members.get("model"), features, schema)
        filled = {"bits": 16, "local_steps": 1, "loss": loss_for(features.label.target).value, **members}
        return cls.from_json({**filled, "features": features.to_json(), "model": model.to_json()})

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""
        features, model = FeatureSpec.from_json(members["features"]), model_from_json(members["model"])
        loss = one_of(Loss, members["loss"], "loss")
        if loss is not loss_for(features.label.target):
            raise InvalidError("`loss` is the one of the label's kind", field="loss")
        check_target(model, features.label.target)
        return cls(
            features=features,
            model=model,
            loss=loss,
            clip=Parameter.of(text_of(members["clip"], "clip"), "clip"),
            rate=Parameter.of(text_of(members["rate"], "rate"), "rate"),
            rounds=whole(1, AVERAGE_ROUNDS, rounds=members["rounds"]),
            local_steps=whole(1, MOST_LOCAL_STEPS, local_steps=members["local_steps"]),
            bits=whole(LEAST_BITS, MOST_BITS, bits=members["bits"]),
        )

    @classmethod
    def read_plan(cls, body: Mapping[str, Any]) -> FederatedAverage:
        """Read an order's `plan`."""
        return FederatedAverage.from_json(body)


def _matrices(written: Any) -> tuple[tuple[str, ...], ...]:
    lists: Sequence[Any] = list_of(written, "covariances")
    return tuple(tuple(text_of(name, "covariances") for name in list_of(columns, "covariances")) for columns in lists)


QUESTIONS: Final[Mapping[CollectionKind, type[Question]]] = {
    question.KIND: question for question in (AverageQuestion, GlmQuestion, StatisticsQuestion)
}
