"""What each kind of job on data of sites asks: its own members, how they are completed, and the plan that follows.

A kind is added by a member of `CollectionKind`, a class and a line in `QUESTIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.glm.families import Family, read_family
from privacy.homomorphic.glm.noised import NoisedGlm
from privacy.homomorphic.glm.plan import MOST_ROUNDS, NO_RIDGE, ExactGlm
from privacy.homomorphic.requests.averages import AverageQuestion
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.plans import Sites
from privacy.homomorphic.requests.question import Declared, Question
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.jobs.asking import complete_query
from privacy.jobs.features import FeatureSpec
from privacy.jobs.glm_spec import Counted, counted_of, features_of_short
from privacy.jobs.queries import Query, list_of
from privacy.jobs.statistics_spec import MOST_QUERIES
from privacy.jobs.strict import one_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmQuestion(Question):
    """A generalised linear model, exact.

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
    NOT_HERE: ClassVar = {"counted": "of an exact model every row counts"}

    family: Family
    features: FeatureSpec
    ridge: Parameter = NO_RIDGE
    rounds: int = MOST_ROUNDS

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
    def complete(cls, members: Mapping[str, Any], declared: Declared) -> Self:
        """Features in full, or the names of outcome and predictors; no ridge, ten rounds."""
        family = read_family(members["family"])
        return cls(
            family=family,
            features=features_of_short(members, family, declared.schema),
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
class NoisedGlmQuestion(Question):
    """A generalised linear model with noise of the sites.

    Attributes:
        family: Linear, logistic or Poisson: it gives the number of rounds.
        features: Predictors and outcome.
        counted: Whether every person counts the same, or every row.
    """

    KIND: ClassVar = CollectionKind.HE_GLM
    ARTIFACT: ClassVar = "he-glm.json"
    NEEDED: ClassVar = ("family",)
    OPTIONAL: ClassVar = ("counted", "features", "outcome", "predictors")
    FORM: ClassVar = ("counted", "family", "features")
    NOT_HERE: ClassVar = {
        "ridge": "a model with noise is not penalised",
        "most_rounds": "a model with noise makes the rounds of its family, always",
    }

    family: Family
    features: FeatureSpec
    counted: Counted = Counted.UNIT

    def columns(self) -> frozenset[str]:
        """Predictors and outcome."""
        return frozenset({self.features.label.column, *(feature.column for feature in self.features.columns)})

    def plan(self, sites: Sites) -> NoisedGlm:
        """The measurements of an ordinary model, each summed over sites."""
        if sites.noise is None:
            raise InvalidError("a model with noise needs `epsilon`", field="epsilon")
        return NoisedGlm(
            family=self.family,
            features=self.features,
            schema=sites.schema,
            noise=sites.noise,
            counted=self.counted,
            rows_per_unit=sites.rows_per_unit,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""
        return {"counted": self.counted.value, "family": self.family.value, "features": self.features.to_json()}

    @classmethod
    def complete(cls, members: Mapping[str, Any], declared: Declared) -> Self:
        """Features in full, or the names of outcome and predictors; each person once."""
        family = read_family(members["family"])
        features = features_of_short(members, family, declared.schema)
        return cls(family=family, features=features, counted=counted_of(members))

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""
        return cls(
            family=one_of(Family, members["family"], "family"),
            features=FeatureSpec.from_json(members["features"]),
            counted=one_of(Counted, members["counted"], "counted"),
        )

    @classmethod
    def read_plan(cls, body: Mapping[str, Any]) -> NoisedGlm:
        """Read an order's `plan`."""
        return NoisedGlm.from_json(body)


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
    def complete(cls, members: Mapping[str, Any], declared: Declared) -> Self:
        """Queries may be short, as in ordinary statistics."""
        written = list_of(members.get("queries", []), "queries")
        if len(written) > MOST_QUERIES:
            raise InvalidError(f"`queries` has at most {MOST_QUERIES} queries", field="queries")
        queries = tuple(query for short in written for query in complete_query(short, declared.schema))
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


def _matrices(written: Any) -> tuple[tuple[str, ...], ...]:
    lists: Sequence[Any] = list_of(written, "covariances")
    return tuple(tuple(text_of(name, "covariances") for name in list_of(columns, "covariances")) for columns in lists)


QUESTIONS: Final[Mapping[CollectionKind, type[Question]]] = {
    question.KIND: question for question in (AverageQuestion, GlmQuestion, StatisticsQuestion)
}
_NOISED: Final[Mapping[CollectionKind, type[Question]]] = {CollectionKind.HE_GLM: NoisedGlmQuestion}
"""Kinds that ask otherwise where there is noise."""


def question_of(kind: CollectionKind, *, noised: bool) -> type[Question]:
    """What a kind asks, with noise or without."""
    return _NOISED.get(kind, QUESTIONS[kind]) if noised else QUESTIONS[kind]
