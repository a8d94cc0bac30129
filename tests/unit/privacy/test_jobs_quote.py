"""A quote in words: what epsilon means in odds, and whether the job can succeed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from kernel.amounts import Share
from kernel.ids import PrincipalId
from privacy.accounting.odds import odds
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.feasibility import Feasibility, clarity, feasibility, training_word
from privacy.jobs.glm_plan import GlmPlan, plan_glm
from privacy.jobs.glm_spec import complete_glm
from privacy.jobs.plan import plan_tuning
from privacy.jobs.quote import quote
from privacy.jobs.spec import complete_tuning
from tests.support import jobs, statistics
from tests.support.budgets import ALL, Book, budget, fresh, population

TRAINER = fresh(PrincipalId)
FIFTH = Share.parse("0.2")
WORDS = list(reversed(Feasibility))
SEARCH = {"learning_rate": ["0.01", "1"], "clip": ["0.5", "1"]}
TRIES = {"most": 3, "shape": "1", "gamma": "0.5"}


def facts(size: int) -> DeclaredFacts:
    """Of so many people."""
    return dataclasses.replace(jobs.facts(), public_size=size)


def word(size: int, epsilon: str, **changes: Any) -> Feasibility | None:
    """Of a training on so many people."""
    return feasibility(jobs.plan(facts(size), epsilon=epsilon, **changes), size, FIFTH)


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_a_quote_says_in_odds_what_epsilon_means(kind: str) -> None:
    """From the job's own mechanisms: less than the whole budget tells, and less than its epsilon alone would say."""
    books = Book(population(budget=budget("4")))
    account = books.standing(TRAINER).account
    declared = dataclasses.replace(jobs.facts(), order=account.population.budget.order)
    plan: Any = jobs.plan(declared, epsilon="2") if kind == "training" else jobs.evaluation_plan(declared=declared)
    found = quote(plan, books.standing(TRAINER), ALL)
    assert found.odds == odds(*plan.uses())
    assert found.budget_odds is not None
    assert 50 < found.odds < found.budget_odds <= 100
    assert found.odds < 100 / (1 + math.exp(-float(found.epsilon.value)))
    assert (found.unit, found.steps) == ("patient", sum(use.times for use in plan.uses()))


def test_an_uncovered_population_has_no_odds() -> None:
    """What an exact result told is in no budget."""
    books = Book(population(budget=budget("4")))
    plan = jobs.plan(facts(600), epsilon="2")
    covered = books.standing(TRAINER)
    uncovered = dataclasses.replace(covered, account=dataclasses.replace(covered.account, uncovered_since=1))
    before, after = quote(plan, covered, ALL), quote(plan, uncovered, ALL)
    assert before.budget_odds is not None
    assert (after.odds, after.budget_odds) == (before.odds, None)


def test_more_people_and_more_epsilon_make_a_training_likely() -> None:
    """And more weights make it hopeless; what the same epsilon is spent on hardly matters."""
    assert [word(size, "1") for size in (30, 300, 60_000)] == WORDS
    assert [word(300, epsilon) for epsilon in ("0.1", "1", "30")] == WORDS
    assert word(600, "1", model={"template": "mlp", "hidden": [512]}) is Feasibility.HOPELESS
    few, many = (jobs.plan(epsilon="1", recipe={"steps": steps, "sampling_rate": "0.2"}) for steps in (40, 400))
    assert clarity(few) == pytest.approx(clarity(many), rel=0.1)


def test_more_people_make_an_evaluation_likely() -> None:
    """The noise on a count is the same for few and for many."""
    plan = jobs.evaluation_plan()
    assert [feasibility(plan, size, FIFTH) for size in (30, 600, 60_000)] == WORDS
    assert feasibility(plan, 60_000, Share.parse("0.0001")) is Feasibility.HOPELESS


def test_more_people_make_statistics_likely() -> None:
    """Of the side whose rows are counted; a histogram among many queries is the judge."""
    plan = statistics.plan()
    assert [feasibility(plan, size, FIFTH) for size in (30, 300, 60_000)] == WORDS
    assert feasibility(plan, 300, Share.parse("0.99")) is Feasibility.HOPELESS


def glm_plan_of(size: int, epsilon: str, **changes: Any) -> GlmPlan:
    """A logistic model on the usual table, of so many people of whom a fifth is held out."""
    asked = {"kind": "glm", "dataset": str(jobs.DATASET), "purpose": "research", "epsilon": epsilon}
    asked |= {"family": "logistic", "outcome": "ill", "predictors": ["age", "dose"]} | changes
    declared = dataclasses.replace(facts(size), rows_per_unit=12)
    return plan_glm(complete_glm(asked, jobs.SCHEMA), jobs.SCHEMA, declared)


def test_more_people_and_more_epsilon_make_coefficients_likely() -> None:
    """Fewer predictors, too; where every row counts, a person counts for less than one."""
    assert [feasibility(glm_plan_of(size, "1"), size, FIFTH) for size in (200, 1500, 60_000)] == WORDS
    assert [feasibility(glm_plan_of(1500, epsilon), 1500, FIFTH) for epsilon in ("0.3", "1", "3")] == WORDS
    many = ["age", "dose", "ward", "stage", "smoker"]
    assert feasibility(glm_plan_of(1500, "3", predictors=many), 1500, FIFTH) is Feasibility.DOUBTFUL
    assert feasibility(glm_plan_of(1500, "3", counted="row"), 1500, FIFTH) is Feasibility.HOPELESS
    assert feasibility(glm_plan_of(1500, "1"), 1500, Share.parse("0.9")) is Feasibility.HOPELESS


def test_more_rows_of_a_person_make_coefficients_less_likely() -> None:
    """The same noise hides more where a person's rows add up to less; of a hazard, whatever epsilon is in reach."""
    for request, epsilon in (({}, "2"), ({"counted": "row"}, "3"), ({"family": "hazard"}, "3")):
        plan = glm_plan_of(1500, epsilon, **request)
        words = [feasibility(dataclasses.replace(plan, rows_per_unit=rows), 1500, FIFTH) for rows in (12, 4, 1)]
        assert words == sorted(words, key=WORDS.index)
        assert words[0] is not Feasibility.LIKELY
        assert words[-1] is Feasibility.LIKELY


def test_a_tuning_is_judged_by_the_worse_of_training_and_scoring() -> None:
    """Good tries that cannot be told apart are worth no more than bad ones that can."""
    declared = facts(60_000)
    asked = complete_tuning(jobs.request(kind="tuning", tries=TRIES, search=SEARCH), jobs.SCHEMA, declared)
    plan = plan_tuning(asked, jobs.SCHEMA, declared)
    assert feasibility(plan, 60_000, FIFTH) is Feasibility.LIKELY
    assert feasibility(plan, 60_000, Share.parse("0.001")) is Feasibility.HOPELESS
    few = plan_tuning(asked, jobs.SCHEMA, facts(20))
    assert feasibility(few, 60_000, FIFTH) is training_word(few.training) is Feasibility.HOPELESS


@pytest.mark.parametrize(("share", "scored"), [("0.2", Feasibility.LIKELY), ("0.0001", Feasibility.HOPELESS)])
def test_a_quote_of_a_tuning_tells_which_part_its_word_comes_from(share: str, scored: Feasibility) -> None:
    """So that a trainer mends the part that fails: the try, or the scores that choose."""
    who = dataclasses.replace(population(budget=budget("8")), public_size=10_000, holdout_share=Share.parse(share))
    books = Book(who)
    declared = DeclaredFacts.of(who, jobs.RECORD)
    asked = complete_tuning(jobs.request(kind="tuning", tries=TRIES, search=SEARCH), jobs.SCHEMA, declared)
    told = quote(plan_tuning(asked, jobs.SCHEMA, declared), books.standing(TRAINER), ALL)
    assert told.selection is not None
    assert (told.selection.try_feasibility, told.selection.score_feasibility) == (Feasibility.LIKELY, scored)
    assert told.feasibility is scored
