"""What a certificate says of a job beside its price, for each kind of plan: what ran, and with which engine."""

from __future__ import annotations

from typing import assert_never

from gateway.records import JobRecord
from kernel.events import Parameter
from kernel.ids import Slug
from privacy.graph.templates import ModelChoice
from privacy.jobs.plan import EvaluationPlan, GlmPlan, Plan, StatisticsPlan, SynthesisPlan, TrainingPlan, TuningPlan
from privacy.jobs.spec import TrainingSpec, TuningSpec
from privacy.release.certificate import EngineFacts, ModelFacts, SelectionFacts

DISCRETE_GAUSSIAN = Slug("discrete-gaussian")
SPANNING_TREE = Slug("discrete-gaussian-and-exponential")


def model_facts(job: JobRecord, plan: Plan) -> ModelFacts:
    """What ran: a model graph on declared features, or the release that was used."""
    match plan:
        case TrainingPlan():
            return _trained(TrainingSpec.from_json(job.spec), plan)
        case TuningPlan():
            return _trained(TuningSpec.from_json(job.spec).training, plan.training)
        case EvaluationPlan():
            return ModelFacts(release=plan.release)
        case StatisticsPlan() | SynthesisPlan():
            return ModelFacts()
        case GlmPlan():
            return ModelFacts(features=plan.features)
        case _:
            assert_never(plan)


def _trained(spec: TrainingSpec, plan: TrainingPlan) -> ModelFacts:
    template = Slug(spec.model.template.value) if isinstance(spec.model, ModelChoice) else None
    return ModelFacts(graph=plan.graph, template=template, features=plan.features, loss=Slug(plan.loss.value))


def selection_facts(plan: Plan, candidate: tuple[int, ...] | None) -> SelectionFacts | None:
    """Which candidate of a tuning is released; nothing of other jobs."""
    if not isinstance(plan, TuningPlan) or candidate is None:
        return None
    return SelectionFacts(candidates=plan.search.candidates, recipe=plan.candidate(candidate).recipe)


def engine_facts(plan: Plan, candidate: tuple[int, ...] | None = None) -> EngineFacts:
    """What ran beside the numbers that enter the price; of a tuning, for the candidate that is released."""
    match plan:
        case TrainingPlan():
            return EngineFacts(
                name=Slug(plan.engine.value),
                clip=plan.recipe.clip,
                clipping=Slug(plan.recipe.clipping.value),
                normaliser=plan.normaliser,
            )
        case TuningPlan():
            return engine_facts(plan.training if candidate is None else plan.candidate(candidate))
        case EvaluationPlan():
            return EngineFacts(name=DISCRETE_GAUSSIAN, sensitivity=Parameter(plan.rows_per_unit))
        case GlmPlan() | StatisticsPlan():
            # Each sum is in units of its own bound on a unit.
            return EngineFacts(name=DISCRETE_GAUSSIAN, clip=Parameter(1))
        case SynthesisPlan():
            return EngineFacts(name=SPANNING_TREE, sensitivity=Parameter(plan.sensitivity))
        case _:
            assert_never(plan)
