"""Requests, plans, prices and quotes: one number follows from the other, and no field is wrong without its name."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.amounts import Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.errors import InvalidError, PrivgateError, TooLargeError
from kernel.events import Parameter
from kernel.ids import JobId, PrincipalId
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.accounting.price import price
from privacy.accounting.rdp import job_epsilon
from privacy.budget.ledger import Exhausted, Reserved
from privacy.budget.reservations import Block
from privacy.jobs import facts as facts_module
from privacy.jobs import plan as plan_module
from privacy.jobs.assignment import EvaluationAssignment, TrainingAssignment
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.outcome import Outcome
from privacy.jobs.plan import EvaluationPlan, TrainingPlan, performance_of, plan_evaluation, plan_training
from privacy.jobs.quote import Quote, quote
from privacy.jobs.spec import (
    EvaluationSpec,
    TrainingSpec,
    complete_evaluation,
    complete_training,
    read_spec,
    read_spec_bytes,
)
from tests.support import jobs
from tests.support.budgets import ALL, Book, budget, fresh, permit, population

DELTA = jobs.facts().delta
FEATURES = jobs.spec().features
EVALUATION = complete_evaluation(jobs.evaluation_request(), FEATURES, jobs.SCHEMA).to_json()


TRAINER = fresh(PrincipalId)


def _books(epsilon: str) -> tuple[Book, DeclaredFacts]:
    """A ledger with this budget, and what is declared about its people."""
    books = Book(population(budget=budget(epsilon)))
    return books, dataclasses.replace(jobs.facts(), order=books.standing().account.population.budget.order)


# --- calibration and price -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", ["0.3", "1", "3", "10"])
@pytest.mark.parametrize("recipe", [{}, {"steps": 1, "sampling_rate": "1"}, {"steps": 3000, "sampling_rate": "0.01"}])
def test_a_job_alone_stays_within_its_epsilon_and_barely(epsilon: str, recipe: dict[str, Any]) -> None:
    """Once through, at the population's delta; one grid step less noise would break it."""
    plan = jobs.plan(epsilon=epsilon, recipe=recipe)
    assert job_epsilon(*plan.uses(), delta=DELTA).epsilon <= Epsilon.parse(epsilon)
    less = plan.with_noise(Parameter(plan.noise_multiplier.number - Decimal("0.000001")))
    assert job_epsilon(*less.uses(), delta=DELTA).epsilon.value > Decimal(epsilon) * Decimal("0.9999")
    assert job_epsilon(*less.uses(), delta=DELTA).epsilon >= Epsilon.parse(epsilon)


@pytest.mark.parametrize("share", ["0.1", "0.5", "0.75"])
def test_an_evaluation_splits_its_privacy_by_the_share(share: str) -> None:
    """1/(2 z^2) of both parts adds up to that of the whole, and the job stays within its epsilon."""
    plan = jobs.evaluation_plan(shares={"outcomes": share, "scores": str(1 - Decimal(share))})
    rho = [1 / (2 * float(plan.noise_of(place).number) ** 2) for place in range(2)]
    assert sum(rho) == pytest.approx(1 / (2 * float(plan.noise_multiplier.number) ** 2), rel=1e-4)
    assert rho[0] / sum(rho) == pytest.approx(float(share), rel=1e-4)
    assert job_epsilon(*plan.uses(), delta=DELTA).epsilon <= Epsilon.parse("1")


def test_the_plan_is_priced_with_what_the_engine_uses() -> None:
    """Sampling rate, noise over clip and steps in the mechanism use are the plan's own; sigma is their product."""
    plan = jobs.plan(recipe={"clip": "0.3"})
    (use,) = plan.uses()
    assert isinstance(use, PoissonSampledGaussian)
    assert (use.sampling_rate, use.noise_multiplier, use.steps) == (
        plan.recipe.sampling_rate,
        plan.noise_multiplier,
        plan.recipe.steps,
    )
    assert plan.sigma == plan.noise_multiplier.number * Decimal("0.3")
    assert plan.engine_clip < Decimal("0.3")


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_the_ledger_charges_what_the_plan_costs(kind: str) -> None:
    """Reserve by the plan, start what an undisturbed run starts: charge and hold are those of the quote."""
    books, declared = _books("8")
    choices = {"confusion": True, "subgroups": ["ward", "smoker"]}
    plan: Any = jobs.plan(declared) if kind == "training" else jobs.evaluation_plan(declared=declared, **choices)
    quoted = quote(plan, books.standing(TRAINER), ALL)
    started = [use.times for use in plan.uses()]
    books.spend(*plan.holds(), started=started, principal=TRAINER)
    block = Block.TRAIN if kind == "training" else Block.HOLDOUT
    balance = books.standing(TRAINER).account.balance(block)
    assert balance.charged == quoted.charge == price(*plan.uses(), order=declared.order)
    books.hold(*plan.holds(), principal=TRAINER)
    assert books.standing(TRAINER).account.balance(block).held == quoted.hold


@pytest.mark.parametrize("kind", ["training", "evaluation"])
@pytest.mark.parametrize("spent", [0, 1])
def test_the_largest_job_that_fits_is_accepted_and_one_percent_more_is_refused(kind: str, spent: int) -> None:
    """The figure of a quote, asked for again, reserves; 1 % more is exhausted (at the ledger, not at the quote)."""
    books, declared = _books("2")

    def planned(epsilon: str) -> Any:
        if kind == "training":
            recipe = {"steps": 60, "sampling_rate": "0.3"}
            return jobs.plan(declared, epsilon=epsilon, recipe=recipe)
        return jobs.evaluation_plan(declared=declared, epsilon=epsilon)

    if spent:
        books.spend(*planned("0.4").holds(), principal=TRAINER)
    refused = quote(planned("50"), books.standing(TRAINER), ALL)
    assert not refused.fits
    assert refused.largest_epsilon is not None
    largest = refused.largest_epsilon.value
    again = quote(planned(str(Parameter(largest))), books.standing(TRAINER), ALL)
    assert again.fits
    more = planned(str(Parameter(largest * Decimal("1.01"))))
    assert not quote(more, books.standing(TRAINER), ALL).fits
    assert isinstance(books.reserve(more.holds(), permit(principal=TRAINER)), Exhausted)
    assert isinstance(books.reserve(planned(str(Parameter(largest))).holds(), permit(principal=TRAINER)), Reserved)


def test_a_hold_covers_every_replay() -> None:
    """Steps + resumes x interval for training, repetitions for an evaluation."""
    plan = jobs.plan(recipe={"steps": 95})
    assert plan.savepoint_interval == 10
    assert [use.mechanism.times for use in plan.holds()] == [95 + plan.resumes * 10]
    assert [use.mechanism.times for use in jobs.evaluation_plan().holds()] == [2, 2]
    assert {use.block for use in plan.holds()} == {Block.TRAIN}
    assert {use.block for use in jobs.evaluation_plan().holds()} == {Block.HOLDOUT}


def test_a_quote_says_nothing_about_rows() -> None:
    """It is a function of plan and ledger; its members are those of the format and none is a number of rows."""
    books, declared = _books("8")
    assert list(inspect.signature(quote).parameters) == ["plan", "standing", "permitted", "home", "alone"]
    found = quote(jobs.plan(declared), books.standing(TRAINER), ALL)
    assert set(found.to_fields()) <= set(Quote.__dataclass_fields__)
    assert not [name for name in Quote.__dataclass_fields__ if "row" in name or "count" in name]


def test_a_trainers_share_bounds_the_largest_job() -> None:
    """With a tenth of the budget permitted the largest job is smaller."""
    books, declared = _books("8")
    plan = jobs.plan(declared)
    whole, tenth = (quote(plan, books.standing(TRAINER), share).largest_epsilon for share in (ALL, Share.parse("0.1")))
    assert whole is not None
    assert tenth is not None
    assert tenth < whole


# --- nothing from N --------------------------------------------------------------------------------------------------


def test_rate_normaliser_and_steps_follow_from_declared_sizes() -> None:
    """Normaliser = rate x (1 - holdout share) x public size; no function of planning takes rows."""
    plan = jobs.plan(recipe={"sampling_rate": "0.25"})
    assert plan.normaliser.number == Decimal("0.25") * Decimal("0.8") * 600
    for function in (plan_training, plan_evaluation, performance_of, complete_training, DeclaredFacts.of):
        names = set(inspect.signature(function).parameters)
        assert not names & {"rows", "table", "data", "count", "n", "units"}, function
    for module in (plan_module, facts_module):
        assert not {"pyarrow", "numpy", "torch"} & set(vars(module))


@pytest.mark.parametrize("size", [100, 600, 33_000, 1_000_000])
def test_defaults_follow_from_declared_sizes(size: int) -> None:
    """Half of the units up to 4096, 40 to 160 steps: always a request that can be planned."""
    declared = jobs.facts(public_size=size)
    plan = jobs.plan(declared)
    expected = min(Decimal(4096), declared.training_units / 2)
    assert abs(plan.normaliser.number - expected) <= expected / 1000
    assert 40 <= plan.recipe.steps <= 160


def test_what_a_childs_memory_might_not_hold_is_refused_by_declared_sizes() -> None:
    """Before any row is seen: whether a job dies must not tell how many rows there are."""
    declared = jobs.facts(public_size=1_000_000_000)
    with pytest.raises(TooLargeError) as error:
        jobs.plan(declared, recipe={"sampling_rate": "0.000001", "steps": 1})
    assert error.value.field == "features"


def test_a_model_that_is_too_slow_to_evaluate_is_refused_when_it_is_trained() -> None:
    """One pass over everybody who is declared is bounded, however short the training."""
    declared = jobs.facts(public_size=30_000_000)
    with pytest.raises(TooLargeError) as error:
        jobs.plan(
            declared, model={"template": "mlp", "hidden": [4000]}, recipe={"sampling_rate": "0.000001", "steps": 1}
        )
    assert error.value.field == "model"


def test_too_much_work_is_refused_by_declared_sizes() -> None:
    """Steps x expected rows x cost of a row is bounded."""
    declared = jobs.facts(public_size=50_000_000)
    model = {"template": "mlp", "hidden": [2000]}
    with pytest.raises(TooLargeError) as error:
        jobs.plan(declared, model=model, recipe={"sampling_rate": "1", "steps": 100_000})
    assert error.value.field == "steps"


# --- what a trainer may write ----------------------------------------------------------------------------------------


WRONG = [
    ({"epsilon": "0"}, "epsilon"),
    ({"epsilon": "-1"}, "epsilon"),
    ({"epsilon": "101"}, "epsilon"),
    ({"recipe": {"sampling_rate": "0"}}, "sampling_rate"),
    ({"recipe": {"sampling_rate": "1.1"}}, "sampling_rate"),
    ({"recipe": {"steps": 0}}, "steps"),
    ({"recipe": {"steps": 100_001}}, "steps"),
    ({"recipe": {"clip": "0"}}, "clip"),
    ({"recipe": {"clip": "10001"}}, "clip"),
    ({"recipe": {"learning_rate": "0"}}, "learning_rate"),
    ({"recipe": {"learning_rate": "20000"}}, "learning_rate"),
    ({"recipe": {"momentum": "1"}}, "momentum"),
    ({"recipe": {"momentum": "-0.1"}}, "momentum"),
    ({"recipe": {"weight_decay": "11"}}, "weight_decay"),
    ({"recipe": {"schedule": "plateau"}}, "schedule"),
    ({"recipe": {"averaging": "best"}}, "averaging"),
    ({"recipe": {"seed": 1}}, "recipe"),
    ({"recipe": {"early_stop": True}}, "recipe"),
    ({"recipe": {"expected_batch": "481"}}, "expected_batch"),
    ({"recipe": {"expected_batch": "10", "sampling_rate": "0.1"}}, "expected_batch"),
    ({"recipe": {"expected_batch": 1.5}}, "expected_batch"),
    ({"recipe": []}, "recipe"),
    ({"model": {"template": "resnet"}}, "template"),
    ({"model": {"template": "linear"}}, "template"),
    ({"model": {"template": "mlp"}}, "hidden"),
    ({"model": {"template": "mlp", "hidden": [0]}}, "hidden"),
    ({"model": {"template": "mlp", "hidden": [5000]}}, "hidden"),
    ({"model": {"template": "mlp", "hidden": [2] * 9}}, "hidden"),
    ({"model": {"template": "mlp", "hidden": [2], "activation": "sin"}}, "activation"),
    ({"model": {"template": "logistic", "hidden": [2]}}, "model"),
    ({"model": {"template": "logistic", "code": "x"}}, "model"),
    ({"loss": "hinge"}, "loss"),
    ({"loss": "squared"}, "loss"),
    ({"label": "nothing"}, "label"),
    ({"label": "patient"}, "patient"),
    ({"label": "patient"}, "patient"),
    ({"label": None}, "label"),
    ({"seed": 7}, "request"),
    ({"kind": "evaluation"}, "kind"),
    ({"v": 2}, "v"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_a_wrong_request_names_its_field(changes: dict[str, Any], field: str) -> None:
    """The error's field is what the trainer must change, and its text repeats no value of the request."""
    with pytest.raises(InvalidError) as error:
        jobs.spec(**changes)
    assert error.value.field == field
    assert "resnet" not in error.value.message


def test_a_final_request_reads_back_and_has_one_digest() -> None:
    """Filled in, written, read: the same value; any change is another digest."""
    wanted = jobs.spec()
    assert read_spec(wanted.to_json()) == wanted
    assert read_spec_bytes(canonical.encode(wanted.to_json())).digest == wanted.digest
    assert jobs.spec(epsilon="2.9").digest != wanted.digest
    evaluating = EvaluationSpec.from_json(EVALUATION)
    assert read_spec(evaluating.to_json()) == evaluating


@pytest.mark.parametrize("body", [jobs.spec().to_json(), EvaluationSpec.from_json(EVALUATION).to_json()])
def test_a_missing_or_added_member_is_refused(body: dict[str, Any]) -> None:
    """At the top and in every object below."""
    paths: list[tuple[str, ...]] = [()] + [(name,) for name, value in body.items() if isinstance(value, dict)]
    for path in paths:
        for name in [*(body[path[0]] if path else body), "more"]:
            changed = copy.deepcopy(body)
            inner = changed[path[0]] if path else changed
            if name == "more":
                inner["more"] = 1
            else:
                del inner[name]
            with pytest.raises(PrivgateError):
                read_spec(changed)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["NaN", "Infinity", "1e999", "-0", "1e-999999"]),
)  # fmt: skip


def _places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [path] * bool(path) + [place for key, value in inner for place in _places(value, (*path, key))]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_no_request_breaks_the_reader(data: st.DataObject) -> None:
    """Junk at any place of a valid request: an error of ours or a request that reads back."""
    body = copy.deepcopy(data.draw(st.sampled_from([jobs.spec().to_json(), EVALUATION])))
    for _ in range(data.draw(st.integers(1, 2))):
        *above, last = data.draw(st.sampled_from(_places(body)))
        inner: Any = body
        for key in above:
            inner = inner[key]
        inner[last] = data.draw(JUNK)
        if len(above) < 2:
            break
    try:
        found = read_spec(body)
    except PrivgateError:
        return
    assert read_spec(found.to_json()) == found


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_no_half_request_breaks_its_completion(data: st.DataObject) -> None:
    """What a trainer leaves out or gets wrong is an error of ours or a plan that can be calibrated."""
    body: Any = jobs.request(recipe={"steps": 10}, model={"template": "mlp", "hidden": [3]})
    *above, last = data.draw(st.sampled_from(_places(body)))
    inner = body
    for key in above:
        inner = inner[key]
    inner[last] = data.draw(JUNK)
    try:
        found = complete_training(body, jobs.SCHEMA, jobs.facts())
    except PrivgateError:
        return
    assert TrainingSpec.from_json(found.to_json()) == found


# --- stored forms ----------------------------------------------------------------------------------------------------


def test_plans_and_assignments_read_back() -> None:
    """What is stored with a job and told to a child is the same value again."""
    plan = jobs.plan()
    assert TrainingPlan.from_fields(plan.to_fields()) == plan
    evaluating_plan = jobs.evaluation_plan(confusion=True, subgroups=["ward"])
    assert EvaluationPlan.from_fields(evaluating_plan.to_fields()) == evaluating_plan
    sealed = jobs.Sealed(key=None, parts=())  # type: ignore[arg-type]
    training = jobs.training(sealed)
    assert TrainingAssignment.from_bytes(training.to_bytes()) == training
    evaluating = jobs.evaluation(sealed, training)
    assert EvaluationAssignment.from_bytes(evaluating.to_bytes()) == evaluating
    with pytest.raises(InvalidError):
        EvaluationAssignment.from_bytes(training.to_bytes())


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_assignment_breaks_the_child(data: st.DataObject) -> None:
    """Junk at any place of an assignment is an error of ours, or an assignment that holds together."""
    body: Any = jobs.training(jobs.Sealed(key=None, parts=())).to_json()  # type: ignore[arg-type]
    *above, last = data.draw(st.sampled_from(_places(body)))
    inner = body
    for key in above:
        inner = inner[key]
    inner[last] = data.draw(JUNK)
    try:
        found = TrainingAssignment.from_bytes(canonical.encode(body))
    except PrivgateError:
        return
    assert found.plan.graph == found.graph.digest


def test_an_outcome_counts_what_was_started() -> None:
    """At least once each; no other member, so that nothing about rows can stand in it."""
    outcome = Outcome(job=fresh(JobId), artifact=Digest.of(b"weights"), started=(3,))
    assert set(Outcome.__dataclass_fields__) == {"job", "artifact", "started"}
    with pytest.raises(InvalidError):
        dataclasses.replace(outcome, started=(0,))


def test_a_budget_without_room_quotes_no_largest_job() -> None:
    """When nothing is left there is no largest job, and the quote says so by its absence."""
    books, declared = _books("2")
    plan = jobs.plan(declared)
    found = quote(plan, books.standing(TRAINER), Share.parse("0.000000001"))
    assert (found.largest_epsilon, found.fits, found.further) == (None, False, 0)
    assert found.available <= Rdp.down(Decimal("0.000001"))
    assert math.isfinite(float(found.charge.value))
