"""Requests to tune: to train several candidates and release the best one, as one job at one price.

Rules
-----
1. A tuning request is a training request with a search, a distribution of the number of tries, and the part of the
   privacy of people held out that goes into scoring them.
2. `complete_tuning` makes the final form: what a trainer leaves out follows from the schema and from declared facts.

Form: docs/formats/job-spec.md, "Tuning".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, ClassVar, Final

from kernel.amounts import Epsilon
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import DatasetId, Slug
from privacy.accounting.tries import Tries
from privacy.graph.check import CheckedGraph
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.head import COMMON, JobKind, Spec, check_epsilon, check_head, members_of_request
from privacy.jobs.labels import Target
from privacy.jobs.model import Model
from privacy.jobs.search import Search, default_search
from privacy.jobs.training_spec import TrainingSpec, complete_training
from privacy.schema import TableSchema

DEFAULT_TRIES: Final = Tries(most=16, shape=Parameter(1), gamma=Parameter("0.1"))
"""Six tries on average, and a single one once in eight times: a logarithmic number would be 1 once in three."""
_SCORE_PART = Decimal(4)
_OWN: Final = ("search", "tries", "score_epsilon")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSpec(Spec):
    """A request to train candidates privately and to release the best one.

    Attributes:
        training: On what, why, for how much, which model, and the recipe that each candidate changes.
        search: The candidates.
        tries: From what the number of tries is drawn.
        score_epsilon: Of scoring alone, to the people held out; they are others than those who train.
    """

    kind: ClassVar[JobKind] = JobKind.TUNING

    training: TrainingSpec
    search: Search
    tries: Tries
    score_epsilon: Epsilon

    def __post_init__(self) -> None:
        self.search.check(self.training.recipe)
        check_epsilon(self.score_epsilon)
        if self.score_epsilon > self.epsilon:
            raise InvalidError("`score_epsilon` must be at most `epsilon`", field="score_epsilon")
        if self.training.features.label.target is Target.REAL:
            raise InvalidError("only models that predict a class can be scored, and tuned", field="features")

    @property
    def dataset(self) -> DatasetId:
        """On what."""
        return self.training.dataset

    @property
    def purpose(self) -> Slug:
        """Why."""
        return self.training.purpose

    @property
    def epsilon(self) -> Epsilon:
        """Of this job alone, at the population's delta."""
        return self.training.epsilon

    @property
    def features(self) -> FeatureSpec:
        """How rows become numbers."""
        return self.training.features

    @property
    def model(self) -> Model:
        """The model of every candidate."""
        return self.training.model

    def model_graph(self, schema: TableSchema) -> CheckedGraph:
        """The model on this schema's rows, checked against every limit."""
        return self.training.model_graph(schema)

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        return self.training.to_json() | {
            "kind": self.kind.value,
            "search": self.search.to_json(),
            "tries": self.tries.to_fields(),
            "score_epsilon": str(self.score_epsilon),
        }

    @classmethod
    def from_json(cls, body: Any) -> TuningSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of_request(body, ("v", "kind", *COMMON, *TrainingSpec.NEEDED, *_OWN), ("rows",))
        check_head(members, JobKind.TUNING)
        spec = cls(
            training=TrainingSpec.from_json(_training(members)),
            search=Search.from_json(members["search"]),
            tries=Tries.from_fields(members["tries"]),
            score_epsilon=Epsilon.parse(members["score_epsilon"]),
        )
        if spec.search.to_json() != members["search"]:
            raise InvalidError("`search` must be lists of decimal text in its final form", field="search")
        return spec


def complete_tuning(body: Any, schema: TableSchema, facts: DeclaredFacts) -> TuningSpec:
    """Fill in what a trainer left out of a tuning request.

    Args:
        body: What `complete_training` takes, and `search`, `tries` and `score_epsilon`, which may be left out. A
            search may have ranges (`low`, `high`, `values`), and `tries` any of its members.
        schema: The dataset's declared schema.
        facts: The population's declared facts.

    Raises:
        InvalidError: A member that is unknown, missing or out of range.
        TooLargeError: The model is too large.
    """
    if not isinstance(body, Mapping) or body.get("kind") != JobKind.TUNING.value:
        raise InvalidError(f"`kind` must be {JobKind.TUNING}", field="kind")
    training = complete_training(_training(body), schema, facts)
    tries = body.get("tries", {})
    if not isinstance(tries, Mapping):
        raise InvalidError("`tries` may have most, shape and gamma", field="tries")
    return TuningSpec(
        training=training,
        search=Search.from_json(body["search"]) if "search" in body else default_search(training.recipe),
        tries=Tries.from_fields({**DEFAULT_TRIES.to_fields(), **tries}),
        score_epsilon=Epsilon.parse(body["score_epsilon"]) if "score_epsilon" in body else _part(training.epsilon),
    )


def _training(members: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in members.items() if name not in _OWN}
    return rest | {"kind": JobKind.TRAINING.value}


def _part(epsilon: Epsilon) -> Epsilon:
    """A quarter: scores are single counts, so they need little."""
    return Epsilon((epsilon.value / _SCORE_PART).quantize(Epsilon.QUANTUM, ROUND_CEILING))
