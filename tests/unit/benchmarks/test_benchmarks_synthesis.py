"""Figures of synthetic tables: the page is what the script makes of its lines, and they are worth something."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import synthesis, synthesis_page
from benchmarks.lines import RESULTS
from privacy.jobs.spec import complete_synthesis
from privacy.schema import TableSchema
from tests.support import jobs

LINES = [json.loads(line) for line in (RESULTS / "synthesis.jsonl").read_text(encoding="utf-8").splitlines()]
BY_WAY = {(line["way"], line["epsilon"]): line for line in LINES}


def test_the_table_is_the_result_file_and_explains_its_rows() -> None:
    """Nobody writes a figure by hand."""
    page = synthesis_page.PAGE.read_text(encoding="utf-8")
    assert synthesis_page.page_with(page, LINES) == page
    explained = page.partition("# What is in synthetic rows")[2].partition(synthesis_page.BEGIN)[0]
    assert all(f"`{line['way']}`" in explained for line in LINES)


@pytest.mark.parametrize("epsilon", synthesis.EPSILONS)
def test_a_chosen_tree_is_worth_its_price(epsilon: str) -> None:
    """Nearer in pairs than independent columns and than statistics of all pairs; around the label models learn."""
    tree, around = BY_WAY["mst", epsilon], BY_WAY["mst-around", epsilon]
    assert tree["runs"] == around["runs"] == synthesis.RUNS
    assert tree["pairs"] < 0.65 * BY_WAY["independent", epsilon]["pairs"]
    assert tree["pairs"] < BY_WAY["asked-pairs", epsilon]["pairs"]
    assert around["pairs"] < BY_WAY["asked-label", epsilon]["pairs"]
    assert around["auc"] > 0.84


def tables() -> synthesis.Tables:
    """Made-up people in the place of Adult."""
    schema = TableSchema(jobs.SCHEMA.columns[1:5])
    axes = complete_synthesis(synthesis._HEAD | {"kind": "synthesis", "epsilon": "1", "bins": 5}, schema).axes
    people = jobs.people(400)
    return synthesis.Tables(schema, people, people, axes)


def test_a_table_is_nowhere_from_itself_and_far_from_another() -> None:
    """Distances by their definition, and cells that come back as they were."""
    of = tables()
    rows = of.train.to_pylist()
    cells = of.cells(rows)
    assert synthesis.distances(of, cells, cells) == (0.0, 0.0)
    again = of.cells(of.from_cells(cells))
    assert all((again[name] == cells[name]).all() for name in cells)
    elsewhere = {axis.column: np.full(7, axis.cells - 1) for axis in of.axes}
    nowhere = {axis.column: np.zeros(9, dtype=np.int64) for axis in of.axes}
    assert synthesis.distances(of, elsewhere, nowhere) == (1.0, 1.0)
