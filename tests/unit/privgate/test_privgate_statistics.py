"""Statistics for a trainer: queries as they are said, answers as they are read, on screen and in Python."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kernel.errors import InvalidError
from privacy.jobs.feasibility import Feasibility, feasibility
from privacy.jobs.measurements import layout
from privacy.jobs.spec import StatisticsSpec, complete_statistics
from privacy.statistics.intervals import QUANTILE, reach
from privacy.statistics.report import statistics_bytes
from privgate.cli.app import app
from privgate.cli.requesting import say_how_many
from privgate.sdk.requests import statistics_request
from privgate.statistics import (
    Statistics,
    count,
    expected_noise,
    histogram,
    mean,
    profile,
    quantiles,
    read_query,
    total,
    words,
)
from tests.support import jobs, statistics

SAID: list[tuple[str, dict[str, Any]]] = [
    ("count", count()),
    ("count per unit weight 3", count(per="unit", weight=3)),
    ("histogram ward smoker", histogram("ward", "smoker")),
    ("histogram age bins 20", histogram("age", bins=20)),
    ("mean age by ward", mean("age", by="ward")),
    ("sum dose", total("dose")),
    ("quantiles age at 0.5 0.9", quantiles("age", at=["0.5", 0.9])),
    ("profile", profile()),
    ("profile age ward", profile("age", "ward")),
]


@pytest.mark.parametrize(("sentence", "query"), SAID, ids=[sentence for sentence, _ in SAID])
def test_a_query_reads_as_it_is_said(sentence: str, query: dict[str, Any]) -> None:
    """The words of the command line and the functions of Python write the same, and the gateway takes it."""
    assert read_query(sentence) == query
    body = statistics_request(str(jobs.DATASET), purpose="research", epsilon=1, queries=[query])
    assert complete_statistics(body, jobs.SCHEMA).queries


def test_names_with_spaces_are_quoted() -> None:
    """As in a shell."""
    assert read_query("mean 'mean radius' by 'has pain'") == mean("mean radius", by=["has pain"])


@pytest.mark.parametrize("sentence", ["", "median age", "mean", "mean age dose", "mean age by", "count bins", "sum 'a"])
def test_what_nobody_says_is_refused(sentence: str) -> None:
    """Here, before anything is sent, with the field that it is about."""
    with pytest.raises(InvalidError) as error:
        read_query(sentence)
    assert error.value.field == "query"
    if sentence == "median age":
        assert "a median is `quantiles age at 0.5`" in str(error.value)


def test_numbers_go_out_as_they_are_written() -> None:
    """No binary fraction reaches the request."""
    query = mean("age", low=18, high=64.5, quantum="0.1", by=["ward"], edges={"ward": [0.1]})
    assert query == {
        "kind": "mean", "column": "age", "by": ["ward"], "low": "18", "high": "64.5", "quantum": "0.1",
        "edges": {"ward": ["0.1"]},
    }  # fmt: skip


def test_how_far_noise_will_reach_is_known_from_a_quote() -> None:
    """What is said before anything is spent is what the released file then says."""
    facts = dataclasses.replace(jobs.facts(rows_per_unit=3), public_size=60_000)
    spec, plan = statistics.spec(), statistics.plan(declared=facts)
    quote: Any = SimpleNamespace(
        request=spec.to_json(), noise_multiplier=str(plan.noise_multiplier), order=plan.order, delta=str(plan.delta)
    )
    told = expected_noise(quote, facts)
    assert len(told) == len(spec.queries)
    far = reach(float(plan.deviation(plan.measurements[0]).number))
    assert told[0] == ("count, per row", f"{far} rows")
    assert told[1][1].endswith("units")
    assert told[3][1].endswith("rows, in each cell")
    cells = 3
    each = 48_000 // cells
    released = Statistics.read(statistics_bytes(spec, plan, evenly(spec, each)))
    (mean_age,) = {cell.deviation for cell in released[5]}
    said, of = told[5][1].split(" at most, of ")
    # What is said beforehand is the worst: a mean at its bound, where noise in the count counts fully.
    assert of == f"{each} rows"
    assert 1 <= float(said) / (QUANTILE * float(mean_age or "nan")) <= 1.5
    tiny = dataclasses.replace(facts, public_size=60)
    assert "too few" in expected_noise(quote, tiny)[5][1]


def test_one_word_for_all_answers_is_that_of_the_worst_and_each_has_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a request that is hopeless by one answer it is said which, and the gateway's word is the worst of them."""
    spec = statistics.spec()
    found = set()
    for people in (60, 200, 600, 2_000, 6_000, 60_000):
        facts = dataclasses.replace(jobs.facts(rows_per_unit=3), public_size=people)
        plan = statistics.plan(declared=facts)
        quote: Any = SimpleNamespace(
            request=spec.to_json(), noise_multiplier=str(plan.noise_multiplier), order=plan.order, delta=str(plan.delta)
        )
        told = [word for _, word in words(quote, facts)]
        worst = max(told, key=list(Feasibility).index)
        assert worst == feasibility(plan, people, facts.holdout_share)
        found.add(frozenset(told))
    assert any(len(several) > 1 for several in found)
    say_how_many([("count, per row", "likely"), ("sum of dose, per row", "hopeless")])
    assert "Of 2 answers 1 will drown in noise, as things are declared: sum of dose" in capsys.readouterr().err


def evenly(spec: StatisticsSpec, each: int) -> tuple[tuple[int, ...], ...]:
    """Numbers without noise: so many in each cell, all in the middle of their bounds."""
    return tuple((0 if m.summed is not None else each,) * m.size.cells for m in layout(spec.queries).measurements)


@pytest.fixture
def released() -> bytes:
    """A released file, of numbers without noise."""
    spec, plan = statistics.spec(), statistics.plan()
    measured = layout(spec.queries).measurements
    exact = tuple(tuple(int(n) for n in np.arange(m.size.cells) + 1000) for m in measured)
    return statistics_bytes(spec, plan, exact)


def test_answers_are_read_cell_by_cell(released: bytes) -> None:
    """Each cell has its place in words."""
    told = Statistics.read(released)
    assert len(told) == len(statistics.QUERIES)
    assert [cell.where for cell in told[2]][:3] == [("a", "false"), ("a", "true"), ("b", "false")]
    assert [cell.where for cell in told[3]] == [("[0, 18)",), ("[18, 40)",), ("[40, 65)",), ("[65, 100]",)]
    assert told[5].title == "mean of age by ward, per row"
    assert [cell.where for cell in told[7]] == [("0.25",), ("0.5",), ("0.9",)]
    assert len({cell.deviation for cell in told[2]}) == 1
    with pytest.raises(InvalidError):
        Statistics.read(released.replace(b'"1000"', b'"1001"', 1))


def test_the_command_shows_every_answer(released: bytes, tmp_path: Path) -> None:
    """As tables for people, as JSON for machines; offline, from a file."""
    path = tmp_path / "statistics.json"
    path.write_bytes(released)
    shown = CliRunner().invoke(app, ["statistics", "show", str(path)])
    assert shown.exit_code == 0, shown.output
    for said in ("mean of age by ward", "[18, 40)", "quantile", "low", "high", "deviation"):
        assert said in shown.output
    told = CliRunner().invoke(app, ["statistics", "show", str(path), "--json"])
    answers = json.loads(told.stdout)["answers"]
    assert len(answers) == len(statistics.QUERIES)
    assert [len(answer["deviations"]) for answer in answers] == [len(list(each)) for each in Statistics.read(released)]
