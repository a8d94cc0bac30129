"""Requests for a synthetic table and their plans: complete, bounded, and never worth more than is held."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.amounts import Share
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import Gaussian, ZeroConcentrated
from privacy.accounting.rdp import job_epsilon
from privacy.jobs import synthesis_plan
from privacy.jobs.feasibility import Feasibility, feasibility
from privacy.jobs.queries import Per, Side
from privacy.jobs.spec import SynthesisSpec, complete_synthesis, read_spec
from privacy.jobs.synthesis_plan import SynthesisPlan, plan_synthesis, require_own
from privacy.schema import TableSchema
from tests.support import jobs, synthesis


def test_the_short_form_becomes_the_final_one_by_the_schema_alone() -> None:
    """All columns that can be counted, cut evenly; what is not said has a default; the final form is read back."""
    found = synthesis.spec(columns=None, bins=None)
    assert [axis.column for axis in found.axes] == ["age", "dose", "ward", "stage", "smoker", "ill"]
    assert (found.block, found.per, found.around, found.slices) == (Side.TRAIN, Per.ROW, None, 1)
    assert [axis.cells for axis in found.axes] == [16, 16, 3, 3, 2, 2]
    assert read_spec(found.to_json()) == found
    again = complete_synthesis(found.to_json(), jobs.SCHEMA)
    assert again.digest == found.digest
    assert synthesis.spec(edges={"age": ["18", "65"]}).axes[0].cells == 3


def test_around_a_column_everything_is_counted_for_each_of_its_cells() -> None:
    """It is in every measurement and no member of the tree."""
    found = synthesis.spec(around="ill")
    assert [axis.column for axis in found.columns] == ["age", "dose", "ward", "smoker"]
    assert all(measurement.axes[0].column == "ill" for measurement in (*found.singles, *found.pairs.values()))
    assert [m.size.cells for m in found.singles] == [12, 12, 6, 4]
    assert list(found.pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"columns": ["age"]}, "columns"),
    ({"columns": ["age", "ill"], "around": "ill"}, "columns"),
    ({"columns": ["age", "age"]}, "axes"),
    ({"columns": ["nobody", "age"]}, "columns"),
    ({"columns": ["patient", "age"]}, "patient"),
    ({"around": "stage"}, "around"),
    ({"around": 3}, "around"),
    ({"method": "aim"}, "method"),
    ({"per": "person"}, "per"),
    ({"block": "test"}, "block"),
    ({"epsilon": "0"}, "epsilon"),
    ({"bins": 0}, "bins"),
    ({"seed": 7}, "request"),
]


@pytest.mark.parametrize(("changes", "field"), REFUSED, ids=[str(change) for change, _ in REFUSED])
def test_what_is_refused_names_its_field(changes: dict[str, Any], field: str) -> None:
    """Before it costs."""
    with pytest.raises(InvalidError) as error:
        synthesis.spec(**changes)
    assert error.value.field == field


def test_too_many_cells_are_refused_for_the_largest_tree_that_could_be_chosen() -> None:
    """Of one pair, of all that is counted, of all that could leave."""
    for changes in ({"bins": 257, "columns": ["age", "dose"]}, {"bins": 182, "columns": None, "around": "stage"}):
        with pytest.raises(TooLargeError):
            synthesis.spec(**changes)
    wide = TableSchema.from_json(
        {"columns": [{"name": f"c{n}", "kind": "numeric", "low": "0", "high": "1"} for n in range(64)]}
    )
    with pytest.raises(TooLargeError):
        synthesis.spec(wide, columns=None, bins=64)
    assert len(synthesis.spec(wide, columns=None, bins=40).pairs) == 64 * 63 // 2
    with pytest.raises(TooLargeError):
        plan_synthesis(synthesis.spec(wide, columns=None, bins=4), jobs.facts(public_size=10**7))


@settings(max_examples=25, deadline=None)
@given(
    epsilon=st.sampled_from(["0.01", "0.3", "1", "7", "100"]),
    rows=st.sampled_from([1, 3, 1000]),
    per=st.sampled_from(["row", "unit"]),
    columns=st.sampled_from([["age", "dose"], ["age", "ward", "smoker"], None]),
    around=st.sampled_from([None, "ill"]),
)
def test_all_parts_together_cost_what_is_held_and_hardly_less(
    epsilon: str, rows: int, per: str, columns: list[str] | None, around: str | None
) -> None:
    """In exact fractions: columns, choices and pairs, for a unit of so many rows, are at most rho and 99.9 % of it."""
    named = columns if columns is None or around is None else [*columns, around]
    asked = synthesis.spec(epsilon=epsilon, per=per, columns=named, around=around)
    plan = plan_synthesis(asked, jobs.facts(rows_per_unit=rows, delta=jobs.facts().delta))
    require_own(plan, asked)
    moved = Fraction(rows if per == "row" else 1)
    edges = len(plan.cells) - 1
    spent = (
        len(plan.cells) * (moved / Fraction(plan.column_deviation.number)) ** 2 / 2
        + edges * (moved / Fraction(plan.pair_deviation.number)) ** 2 / 2
        + edges * (moved * Fraction(plan.steepness.number)) ** 2 / 2
    )
    assert Fraction(999, 1000) * Fraction(plan.rho.number) < spent <= Fraction(plan.rho.number)


def test_the_price_is_one_zcdp_and_the_job_keeps_its_epsilon() -> None:
    """Held for one repetition more; a grid step less noise would break the epsilon."""
    plan = synthesis.plan(epsilon="2")
    (use,), (held,) = plan.uses(), plan.holds()
    assert isinstance(use, ZeroConcentrated)
    assert use == ZeroConcentrated(rho=plan.rho, count=1)
    assert (held.mechanism, str(held.block)) == (use.repeated(2), "train")
    assert job_epsilon(use, delta=plan.delta).epsilon.value <= 2
    finer = plan.with_noise(Parameter(plan.noise_multiplier.number - NOISE_QUANTUM))
    assert job_epsilon(*finer.uses(), delta=plan.delta).epsilon.value > 2
    same = job_epsilon(Gaussian(noise_multiplier=plan.noise_multiplier, count=1), delta=plan.delta).epsilon
    assert abs(same.value - job_epsilon(use, delta=plan.delta).epsilon.value) < Decimal("0.00001")


def test_a_plan_that_spends_more_than_it_holds_runs_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is not the calibration's: a fault in the shares is found before a child has a key."""
    plan = synthesis.plan()
    plan.require_price()
    for part in ("COLUMNS", "CHOICES", "PAIRS"):
        with monkeypatch.context() as seeded:
            seeded.setattr(synthesis_plan, part, getattr(synthesis_plan, part) + Decimal("0.001"))
            with pytest.raises(InvalidError):
                plan.require_price()


def test_a_plan_belongs_to_its_request() -> None:
    """Other columns, another slice, other rows, another epsilon: another plan."""
    asked, plan = synthesis.spec(), synthesis.plan()
    require_own(plan, asked)
    for changes in ({"epsilon": "2"}, {"around": "ill"}, {"bins": 7}, {"per": "unit"}, {"block": "holdout"}):
        with pytest.raises(InvalidError):
            require_own(plan, synthesis.spec(**changes))
    for change in ({"cells": (6, 6, 3, 2, 3)}, {"slices": 2}, {"per": Per.UNIT}):
        with pytest.raises(InvalidError):
            require_own(dataclasses.replace(plan, **change), asked)
    with pytest.raises(InvalidError):
        SynthesisPlan.from_fields(plan.to_fields() | {"cells": [6]})


def test_the_word_follows_noise_cells_and_declared_people() -> None:
    """More people, fewer cells or more epsilon are better; of a holdout its own size counts."""
    share = Share.parse("0.2")

    def word(public_size: int, **changes: Any) -> Feasibility | None:
        declared = jobs.facts(public_size=public_size)
        return feasibility(synthesis.plan(declared, **changes), public_size, share)

    assert word(30_000) is Feasibility.LIKELY
    assert word(30_000, epsilon="0.01") is Feasibility.HOPELESS
    assert word(200) is Feasibility.HOPELESS
    order = [Feasibility.HOPELESS, Feasibility.DOUBTFUL, Feasibility.LIKELY]
    words = [word(size) for size in (200, 1000, 2500, 6000, 30_000)]
    assert [order.index(w) for w in words if w] == sorted(order.index(w) for w in words if w)
    assert len(set(words)) == 3
    assert order.index(word(6000, block="holdout") or order[0]) < order.index(word(6000) or order[0]) + 1


def test_its_final_form_is_the_only_one() -> None:
    """A member more or less is refused."""
    body = synthesis.spec(around="ill").to_json()
    for broken in (body | {"columns": ["age"]}, body | {"seed": 1}, {k: v for k, v in body.items() if k != "per"}):
        with pytest.raises(InvalidError):
            SynthesisSpec.from_json(broken)
