"""What a certificate says of a job beside its price, for each kind of plan: what ran, and with which engine."""

from __future__ import annotations

from typing import assert_never

from gateway.records import JobRecord
from kernel.events import Parameter
from kernel.ids import Slug
from privacy.graph.templates import ModelChoice
from privacy.jobs.plan import EvaluationPlan, Plan, TrainingPlan
from privacy.jobs.spec import TrainingSpec
from privacy.release.certificate import EngineFacts, ModelFacts

DISCRETE_GAUSSIAN = Slug("discrete-gaussian")


def model_facts(job: JobRecord, plan: Plan) -> ModelFacts:
    """What ran: a model graph on declared features, or the release that was used."""
    match plan:
        case TrainingPlan():
            spec = TrainingSpec.from_json(job.spec)
            template = Slug(spec.model.template.value) if isinstance(spec.model, ModelChoice) else None
            return ModelFacts(graph=plan.graph, template=template, features=plan.features, loss=Slug(plan.loss.value))
        case EvaluationPlan():
            return ModelFacts(release=plan.release)
        case _:
            assert_never(plan)


def engine_facts(plan: Plan) -> EngineFacts:
    """What ran beside the numbers that enter the price."""
    match plan:
        case TrainingPlan():
            return EngineFacts(
                name=Slug(plan.engine.value),
                clip=plan.recipe.clip,
                clipping=Slug(plan.recipe.clipping.value),
                normaliser=plan.normaliser,
            )
        case EvaluationPlan():
            return EngineFacts(name=DISCRETE_GAUSSIAN, sensitivity=Parameter(plan.rows_per_unit))
        case _:
            assert_never(plan)
