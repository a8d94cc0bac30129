"""The table: right without noise, honest with it, and worked out again from the file alone."""

from __future__ import annotations

import contextlib
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from benchmarks.glm import NARROW, TRIALS, Cell, Trial, draw, fitted_openly
from kernel import canonical
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.events import Parameter
from privacy.glm.inference import coefficients_of
from privacy.glm.matrices import packed_size, spectrum, unpacked
from privacy.glm.measure import measure
from privacy.glm.readings import Readings
from privacy.glm.rehearsal import rehearse
from privacy.glm.report import glm_bytes, read_glm, require_glm
from privacy.glm.schedule import STEPS, schedule
from privacy.glm.sums import Cases
from privacy.jobs.glm_plan import GlmPlan, multipliers_of
from privacy.training.units import UnitTable

LOGISTIC = next(trial for trial in TRIALS if trial.family == "logistic")


def cases_of(cell: Cell, people: int, seed: int) -> tuple[Cases, Any]:
    """A drawn sample as the child reads it."""
    sample = draw(cell.trial, people, np.random.default_rng(seed))
    units = UnitTable.of_records(cell.encoder.encode(sample.table))
    return Cases.of(cell.design, units, per_row=False), sample


def released(cell: Cell, people: int = 2000, seed: int = 1) -> bytes:
    """A released file."""
    cases, _ = cases_of(cell, people, seed)
    sums = measure(cell.design, cell.plan.multipliers(cell.design), cases)
    return glm_bytes(cell.plan, cell.trial.outcome["name"], cell.design, sums)


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_without_noise_it_is_the_ordinary_fit(trial: Trial) -> None:
    """With next to no noise the table is near the truth, and its errors are near those of the efficient fit."""
    cell = Cell(trial, 20_000, "3")
    cases, sample = cases_of(cell, 20_000, 5)
    quiet = {name: Parameter("0.001") for name in multipliers_of(cell.design, Parameter(1))}
    numbers = measure(cell.design, quiet, cases)
    multipliers = {name: float(value.number) for name, value in quiet.items()}
    readings = Readings(design=cell.design, multipliers=multipliers, numbers=numbers)
    table = coefficients_of(cell.design, readings.steps(STEPS[cell.design.family]))
    assert table is not None
    openly = fitted_openly(trial, sample)
    for line, true, error in zip(table, trial.truth, openly, strict=True):
        assert abs(line.value - true) < 4 * error, line.name
        assert 0.85 * error < line.error < 1.35 * error, line.name
        assert line.noise_share < 0.01


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_the_table_follows_from_the_file_alone(trial: Trial) -> None:
    """Reading works it out again; a figure that was touched is refused, and so is another plan's file."""
    cell = Cell(trial, 2000, "3")
    data = released(cell)
    body = read_glm(data)
    require_glm(cell.plan, cell.trial.outcome["name"], cell.design, data)
    assert body["table"] is not None
    for member, value in (("count", body["count"] + 1), ("noise_multiplier", "0.1"), ("confidence", "0.99")):
        with pytest.raises(InvalidError):
            read_glm(canonical.encode(body | {member: value}))
    forged = [dict(line) for line in body["table"]]
    forged[1]["coefficient"] = "1.5"
    with pytest.raises(InvalidError):
        read_glm(canonical.encode(body | {"table": forged}))
    other = Cell(trial, 2000, "1")
    with pytest.raises(InvalidError):
        require_glm(other.plan, cell.trial.outcome["name"], cell.design, data)


def test_a_table_has_what_people_print() -> None:
    """Interval, ratio and p-value; an intercept has no p-value, because no hypothesis is about it."""
    table = read_glm(released(Cell(LOGISTIC, 2000, "3")))["table"]
    assert [line["term"] for line in table] == ["(intercept)", "age", "bmi", "sex=male", "smoker=true"]
    assert "p_value" not in table[0]
    for line in table[1:]:
        middle = (Decimal(line["low"]) + Decimal(line["high"])) / 2
        assert float(middle) == pytest.approx(float(line["coefficient"]), rel=1e-4, abs=1e-6)
        assert float(line["odds_ratio"]["value"]) == pytest.approx(math.exp(float(line["coefficient"])), rel=1e-4)
        assert 0 < float(line["p_value"]) <= 1
        assert 0 < float(line["noise_share"]) < 1


def test_where_noise_drowns_the_curvature_nothing_is_printed() -> None:
    """Fifty people at a small epsilon: no number is better than a wrong one."""
    cell = Cell(LOGISTIC, 2000, "0.05")
    assert read_glm(released(cell, people=50))["table"] is None


def test_the_measurements_together_cost_no_more_than_their_one_gaussian() -> None:
    """Exact, in fractions: the sum of all rho is at most 1 / (2 z^2)."""
    for trial in TRIALS:
        cell = Cell(trial, 2000, "1")
        parts = [Fraction(z.number) ** -2 for z in cell.plan.multipliers(cell.design).values()]
        whole = Fraction(cell.plan.noise_multiplier.number) ** -2
        assert whole * Fraction("0.99999") < sum(parts) <= whole


@pytest.mark.parametrize("noise", ["0.05", "0.333333", "1", "7.123457", "1000000"])
def test_the_price_is_proven_in_fractions(noise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every family; a thousandth taken from one measurement's noise is found before anything runs."""
    for trial in TRIALS:
        cell = Cell(trial, 2000, "1")
        plan = cell.plan.with_noise(Parameter(noise))
        plan.require_price(cell.design)
        multipliers = plan.multipliers(cell.design)
        for name, value in multipliers.items():
            less = multipliers | {name: Parameter(value.number * Decimal("0.999"))}
            with monkeypatch.context() as patch:
                patch.setattr(GlmPlan, "multipliers", lambda self, design, less=less: less)
                with pytest.raises(InvalidError, match="cost more"):
                    plan.require_price(cell.design)
                with pytest.raises(InvalidError, match="cost more"):
                    rehearse(plan, trial.outcome["name"], cell.design)


@pytest.mark.parametrize("trial", NARROW, ids=lambda trial: trial.name)
def test_a_hostile_file_is_refused_and_nothing_else(trial: Trial) -> None:
    """Whatever numbers stand in it: it is read, or refused as a file, and never breaks its reader."""
    body = read_glm(released(Cell(trial, 2000, "3")))
    design, sums = body["design"], body["sums"]
    hostile = ["0.0", "-1.0", "1e-300", "5e-324", "1e-09", "1e+300", "1.7e+308", "inf", "nan", "", "1", 0, 1.5, None]
    changed: list[dict[str, Any]] = []
    for value in hostile:
        changed += [{"design": design | {name: value}} for name in design]
        for name in design["terms"][0]:
            changed.append({"design": design | {"terms": [design["terms"][0] | {name: value}, *design["terms"][1:]]}})
        changed += [{name: value} for name in body]
    for number in (0, 1, -1, 2**53 - 1, 1 - 2**53, 2**53, True, "1"):
        changed += [{"sums": sums | {name: [number] * len(numbers)}} for name, numbers in sums.items()]
        changed.append({"sums": {name: [number] * len(numbers) for name, numbers in sums.items()}})
    for column in (-1, 0, 1, 2, 40, True):
        for place in (0, 1, -1):
            terms = [dict(term) for term in design["terms"]]
            terms[place]["column"] = column
            changed.append({"design": design | {"terms": terms}})
    for change in changed:
        with contextlib.suppress(PrivgateError):
            read_glm(canonical.encode(body | change))


def test_a_range_that_cannot_be_computed_with_is_refused_when_asked() -> None:
    """By its column, before anything is held."""
    columns = [dict(column) for column in LOGISTIC.schema.to_json()["columns"]]
    columns[0] |= {"low": "0", "high": "0.000000000000001"}
    schema = type(LOGISTIC.schema).from_json({"columns": columns})
    with pytest.raises(InvalidError) as caught:
        Cell(LOGISTIC, 2000, "1").spec.design(schema)
    assert caught.value.field == "age"


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_the_rehearsal_finds_a_row_that_moves_too_much(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes as things are; with a looser grid than is priced it does not."""
    cell = Cell(trial, 2000, "1")
    rehearse(cell.plan, trial.outcome["name"], cell.design)
    monkeypatch.setattr("privacy.glm.rehearsal.GRID", 2**10)
    with pytest.raises(CorruptError):
        rehearse(cell.plan, trial.outcome["name"], cell.design)


def test_the_noise_is_drawn_with_the_stated_deviation() -> None:
    """Nobody in the table: what is released is the noise, in its planned size."""
    cell = Cell(LOGISTIC, 2000, "1")
    empty, _ = cases_of(cell, 0, 1)
    drawn = [measure(cell.design, cell.plan.multipliers(cell.design), empty) for _ in range(40)]
    for name, z in cell.plan.multipliers(cell.design).items():
        numbers = np.array([number for one in drawn for number in one[name]]) / 2**20
        assert np.sqrt(np.mean(numbers**2)) == pytest.approx(float(z.number), rel=5 / math.sqrt(2 * len(numbers)))


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_no_noisy_number_makes_a_run_fail(trial: Trial) -> None:
    """Whatever came out of the noise, there is a file: a job's end must not hang on rows."""
    cell = Cell(trial, 2000, "1")
    source = np.random.default_rng(6)
    for power in (0, 10, 20, 30, 40, 53):
        most = 2**power - 1
        sums = {
            one.name: tuple(int(number) for number in source.integers(-most, most, one.size, endpoint=True))
            for one in schedule(cell.design)
        }
        assert read_glm(glm_bytes(cell.plan, trial.outcome["name"], cell.design, sums))["count"] is not None


def test_a_spectrum_rebuilds_its_matrix() -> None:
    """Eigenvalues, inverse and the part without negative values, against numpy."""
    source = np.random.default_rng(4)
    for size in (1, 2, 5, 12):
        matrix = source.normal(size=(size, size))
        matrix = matrix + matrix.T
        found = spectrum(matrix.tolist())
        assert np.allclose(sorted(found.values), np.linalg.eigvalsh(matrix))
        square = matrix @ matrix + np.eye(size)
        assert np.allclose(spectrum(square.tolist()).inverse(1e-9), np.linalg.inv(square))
        values, vectors = np.linalg.eigh(matrix)
        assert np.allclose(found.positive(), (vectors * np.maximum(values, 0)) @ vectors.T)


def test_packed_numbers_have_the_matrix_norm() -> None:
    """So that a bound in one is a bound in the other."""
    numbers = list(np.random.default_rng(5).normal(size=packed_size(4)))
    assert np.linalg.norm(unpacked(numbers, 4)) == pytest.approx(np.linalg.norm(numbers))
