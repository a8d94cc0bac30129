"""A released model on the command line: what a paper prints, with the noise in it, and nothing where it drowned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.glm import NARROW, Cell, draw
from privacy.glm.measure import measure
from privacy.glm.report import glm_bytes
from privacy.glm.sums import Cases
from privacy.training.units import UnitTable
from privgate.cli.app import app
from privgate.glm import GlmTable

RATIOS = {"linear": "", "logistic": "odds ratio", "poisson": "rate ratio"}


def released(folder: Path, family: str, epsilon: str = "3", people: int = 2000) -> Path:
    """A fetched file."""
    trial = next(trial for trial in NARROW if trial.family == family)
    cell = Cell(trial, 2000, epsilon)
    rows = cell.encoder.encode(draw(trial, people, np.random.default_rng(1)).table)
    cases = Cases.of(cell.design, UnitTable.of_records(rows), per_row=False)
    sums = measure(cell.design, cell.plan.multipliers(cell.design), cases)
    path = folder / "glm.json"
    path.write_bytes(glm_bytes(cell.plan, trial.outcome["name"], cell.design, sums))
    return path


@pytest.mark.parametrize("family", RATIOS)
def test_every_coefficient_is_shown_with_its_error_and_its_noise(tmp_path: Path, family: str) -> None:
    """And p-values and ratios where they mean something: never of the intercept."""
    path = released(tmp_path, family)
    shown = CliRunner().invoke(app, ["glm", "show", str(path)])
    assert shown.exit_code == 0
    table = GlmTable.read(path.read_bytes())
    assert shown.stdout.startswith(f"{family} model of ")
    lines = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
    for line in table:
        cells = lines[line.term].split()
        assert cells[1:5] == [line.coefficient, line.standard_error, line.low, line.high]
        assert cells[-1] == f"{float(line.noise_share):.0%}"
        assert len(cells) == (6 if line.p_value is None else 7 if not RATIOS[family] else 11)
    assert RATIOS[family] in shown.stdout
    assert "include sampling and privacy noise" in shown.stderr


def test_machines_get_the_table_without_the_sums(tmp_path: Path) -> None:
    """As it stands in the file."""
    path = released(tmp_path, "logistic")
    told = json.loads(CliRunner().invoke(app, ["glm", "show", str(path), "--json"]).stdout)
    assert set(told) == {"family", "outcome", "counted", "count", "confidence", "table"}
    assert told["table"] == list(GlmTable.read(path.read_bytes()).body["table"])


def test_a_drowned_model_is_told_as_such(tmp_path: Path) -> None:
    """No table, and what would help."""
    path = released(tmp_path, "logistic", epsilon="0.05", people=50)
    shown = CliRunner().invoke(app, ["glm", "show", str(path)])
    assert shown.exit_code == 0
    assert "more epsilon" in shown.stderr
    assert "coefficient" not in shown.stdout


def test_a_touched_file_is_refused(tmp_path: Path) -> None:
    """Its table does not follow from its sums."""
    path = released(tmp_path, "logistic")
    path.write_bytes(path.read_bytes().replace(b'"count":', b'"count":1', 1))
    shown = CliRunner().invoke(app, ["glm", "show", str(path)])
    assert shown.exit_code == 2
    assert "does not follow" in shown.stderr


@pytest.mark.parametrize(("rows", "counted"), [(1, "people or records"), (6, "people")])
def test_who_is_counted_is_called_by_what_is_known(rows: int, counted: str) -> None:
    """A record has one row: where a unit may have more, it is a person or the like. And noise is called known noise."""
    cell = Cell(NARROW[1], 2000, "3")
    encoded = cell.encoder.encode(draw(cell.trial, 2000, np.random.default_rng(1)).table)
    sums = measure(
        cell.design,
        cell.plan.multipliers(cell.design),
        Cases.of(cell.design, UnitTable.of_records(encoded), per_row=False),
    )
    table = GlmTable.read(glm_bytes(replace(cell.plan, rows_per_unit=rows), "event", cell.design, sums))
    assert table.title.endswith(f" {counted}")
    assert "known to be noise" in table.legend
    assert "noise makes too large" in table.legend
