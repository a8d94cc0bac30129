"""The benchmark of GLM intervals: its lines hold what the issue demands, and the page is made of them."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import glm, glm_page, glm_rival
from benchmarks.glm import EPSILONS, RUNS, TRIALS, Cell, sizes_of
from benchmarks.lines import RESULTS

LINES = [json.loads(line) for line in (RESULTS / "glm.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_case_was_run_and_covers() -> None:
    """Three families, two sizes, two epsilons, ranges that are declared much too wide: 93 to 97 % over 500 runs.

    Runs without a table count against it.
    """
    assert {(line["task"], line["people"], line["epsilon"]) for line in LINES} == {
        (trial.name, people, epsilon) for trial in TRIALS for people in sizes_of(trial) for epsilon in EPSILONS
    }
    for line in LINES:
        assert line["runs"] == RUNS
        assert 0.93 <= line["coverage"] <= 0.97, line
        assert line["interval_ratio"] > 1


def test_the_table_is_the_result_file() -> None:
    """Nobody writes a figure by hand."""
    page = glm_page.PAGE.read_text(encoding="utf-8")
    assert glm_page.page_with(page, LINES) == page


def test_people_are_drawn_within_what_is_declared() -> None:
    """Nothing lies outside; next to none of a linear outcome is cut at a bound, which would bend the line."""
    source = np.random.default_rng(1)
    for trial in TRIALS:
        sample = glm.draw(trial, 20_000, source)
        for column in trial.schema.columns:
            if column.low is not None and column.high is not None:
                values = sample.table.column(column.name).to_numpy()
                low, high = float(column.low.number), float(column.high.number)
                assert low <= values.min() <= values.max() <= high
                if column.name == "pressure":
                    assert np.mean((values == low) | (values == high)) < 0.01


def test_the_ordinary_fit_is_the_textbook_one() -> None:
    """Its errors, against the spread of a formula: for a linear model the inverse of the cross products."""
    trial = TRIALS[0]
    sample = glm.draw(trial, 3000, np.random.default_rng(2))
    errors = glm.fitted_openly(trial, sample)
    expected = glm.RESIDUAL * np.sqrt(np.diag(np.linalg.inv(sample.design.T @ sample.design)))
    assert np.allclose(errors, expected, rtol=0.06)


def test_a_few_runs_make_a_line() -> None:
    """In the form that is written."""
    line = Cell(TRIALS[0], 2000, "3").line(2)
    assert set(line) == set(LINES[0])
    assert line["untold"] == 0


def test_a_fitted_coefficient_is_no_worse_than_a_trained_one() -> None:
    """At the same epsilon, people and delta: twice as good as by the default recipe, as good as by the best one."""
    lines = [json.loads(line) for line in glm_rival.FILE.read_text(encoding="utf-8").splitlines()]
    by = {(line["people"], line["epsilon"], line["way"]): line for line in lines}
    assert set(by) == {(p, e, way) for p in glm.PEOPLE for e in EPSILONS for way in ("glm", *glm_rival.WAYS)}
    for people in glm.PEOPLE:
        for epsilon in EPSILONS:
            fitted = by[people, epsilon, "glm"]
            assert fitted["untold"] == 0
            assert 0.85 <= fitted["coverage"] <= 1
            assert fitted["error"] < 0.5 * by[people, epsilon, "dp-sgd"]["error"]
            assert all(fitted["error"] < 1.1 * by[people, epsilon, way]["error"] for way in glm_rival.WAYS)
    page = glm_rival.PAGE.read_text(encoding="utf-8")
    assert glm_rival.page_with(page, lines) == page


def test_a_trained_models_coefficients_are_read_off_it() -> None:
    """A run of each way gives its line."""
    found = list(glm_rival.lines(2000, "3", 1))
    assert [line["way"] for line in found] == ["glm", *glm_rival.WAYS]
    assert all(0 < line["error"] < 20 for line in found)
