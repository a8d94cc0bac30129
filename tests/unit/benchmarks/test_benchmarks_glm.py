"""The benchmark of GLM intervals: its lines hold what the issue demands, and the page is made of them."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import glm, glm_page
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
