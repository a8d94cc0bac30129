"""Rows of a synthetic table: drawn from a released file alone, alike in columns and along the tree, and nobody's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError
from privacy.jobs.plan import plan_synthesis
from privacy.synthesis.report import Branch, Counted, synthesis_bytes
from privgate.cells import out_of_bounds
from privgate.cli.synthesis import say_pairs
from privgate.rowfiles import read_rows, write_rows
from privgate.synthetic import SyntheticTable
from tests.support import jobs, synthesis

PEOPLE, ROWS = 6000, 3000
Row = dict[str, Any]


@pytest.fixture(scope="module")
def plain() -> SyntheticTable:
    """Five columns along a tree, at epsilon 2."""
    return SyntheticTable.read(synthesis.released(jobs.people(PEOPLE), epsilon="2"))


@pytest.fixture(scope="module")
def centred() -> SyntheticTable:
    """The same around who is ill."""
    return SyntheticTable.read(synthesis.released(jobs.people(PEOPLE), epsilon="2", around="ill"))


def drawn(of: SyntheticTable, rows: int = ROWS, seed: int = 3) -> list[Row]:
    """Rows drawn from it."""
    return list(of.rows(jobs.SCHEMA, rows, seed))


def share(rows: list[Row], chosen: Callable[[Row], bool], among: Callable[[Row], bool] = lambda _: True) -> float:
    """How many of the rows are chosen, among some."""
    counted = [row for row in rows if among(row)]
    return sum(map(chosen, counted)) / len(counted)


@pytest.mark.parametrize("which", ["plain", "centred"])
def test_columns_and_what_they_say_of_each_other_are_alike(which: str, request: pytest.FixtureRequest) -> None:
    """Each column's distribution, and what age, dose and smoking say of illness, within some hundredths."""
    true, rows = jobs.people(PEOPLE).to_pylist(), drawn(request.getfixturevalue(which))
    for name in ("ward", "smoker", "ill"):
        expected, found = (Counter(row[name] for row in of) for of in (true, rows))
        for value in expected:
            assert abs(expected[value] / PEOPLE - found[value] / ROWS) < 0.05, (name, value)
    for among in (lambda row: row["age"] >= 66, lambda row: row["dose"] >= 2, lambda row: row["smoker"]):
        one, other = (share(of, lambda row: row["ill"] == "yes", among) for of in (true, rows))
        assert abs(one - other) < 0.08


def test_around_a_column_three_hang_together(plain: SyntheticTable, centred: SyntheticTable) -> None:
    """Among the ill the young took more: within a slice, age and dose are tied; a tree of pairs knows less of it."""

    def apart(rows: list[Row]) -> float:
        ill = [row for row in rows if row["ill"] == "yes"]
        ages = (lambda row: row["age"] < 50, lambda row: row["age"] >= 50)
        young, old = (share(ill, lambda row: row["dose"] > 0, among) for among in ages)
        return young - old

    truth = apart(jobs.people(PEOPLE).to_pylist())
    assert truth > 0.2
    assert abs(apart(drawn(centred)) - truth) < 0.1
    assert apart(drawn(plain)) < truth / 2


def test_every_value_is_one_that_the_schema_allows(centred: SyntheticTable) -> None:
    """And a name that says that the row is nobody's; columns that were not asked for are left out."""
    rows = drawn(centred, 400)
    for row in rows:
        assert list(row) == ["patient", "age", "dose", "ward", "smoker", "ill"]
        values = {name: value for name, value in row.items() if name != "patient"}
        assert not any(out_of_bounds(jobs.SCHEMA.column(name), value) for name, value in values.items())
    assert len({row["patient"] for row in rows}) == 400


def test_rows_follow_from_file_and_seed_alone(plain: SyntheticTable, centred: SyntheticTable) -> None:
    """Anybody draws the same; more begin with the fewer; another seed or release gives others."""
    rows = drawn(plain, 50)
    assert drawn(plain, 50) == rows
    assert drawn(plain, 80)[:50] == rows
    assert drawn(plain, 50, seed=4) != rows
    assert drawn(centred, 50) != rows
    for count, seed in ((0, 1), (10**6 + 1, 1), (5, -1)):
        with pytest.raises(InvalidError):
            plain.rows(jobs.SCHEMA, count, seed)


def test_a_table_without_noise_gives_its_own_shares() -> None:
    """Known answers: three columns, of which the second follows from the first and the third from nothing."""
    asked = synthesis.spec(columns=["ward", "stage", "smoker"], epsilon="90")
    plan = plan_synthesis(asked, jobs.facts(public_size=10**6))
    # Of 80,000: half in ward a with stage i, a quarter each in b with ii and c with iii; three in eight smoke.
    columns = ((40_000, 20_000, 20_000), (40_000, 20_000, 20_000), (50_000, 30_000))
    tied = (40_000, 0, 0, 0, 20_000, 0, 0, 0, 20_000)
    loose = (25_000, 15_000, 12_500, 7500, 12_500, 7500)
    file = synthesis_bytes(asked, plan, Counted(columns, (Branch((0, 1), tied), Branch((0, 2), loose))))
    table = SyntheticTable.read(file)
    assert [(pair.first, pair.second, pair.apart > 0) for pair in table.pairs] == [
        ("ward", "stage", True),
        ("ward", "smoker", False),
    ]
    rows = list(table.rows(jobs.SCHEMA, 4000))
    assert {(row["ward"], row["stage"]) for row in rows} == {("a", "i"), ("b", "ii"), ("c", "iii")}
    assert abs(share(rows, lambda row: row["ward"] == "a") - 0.5) < 0.03
    for ward in "abc":
        assert abs(share(rows, lambda row: row["smoker"], lambda row, ward=ward: row["ward"] == ward) - 0.375) < 0.06


def test_pairs_that_do_not_stand_out_of_their_noise_tie_nothing() -> None:
    """Counts of 20 rows under noise of some hundreds: rows are still rows, and hardly ever hang together."""
    asked = synthesis.spec(epsilon="0.1")
    plan = plan_synthesis(asked, jobs.facts())
    tied = 0
    for seed in range(12):
        draw = np.random.default_rng(seed)
        columns, pairs = (
            [np.rint(draw.normal(20 / size, float(deviation), size)).astype(int).tolist() for size in sizes]
            for deviation, sizes in (
                (plan.column_deviation, [axis.cells for axis in asked.columns]),
                (plan.pair_deviation, [asked.pairs[0, other].size.cells for other in range(1, 5)]),
            )
        )
        tree = tuple(Branch((0, other), tuple(noisy)) for other, noisy in enumerate(pairs, start=1))
        table = SyntheticTable.read(synthesis_bytes(asked, plan, Counted(tuple(map(tuple, columns)), tree)))
        assert len(drawn(table, 20)) == 20
        tied += sum(pair.apart > 0 for pair in table.pairs)
    assert tied <= 12 * 4 / 4


def test_rows_are_written_as_the_schemas_file(plain: SyntheticTable, tmp_path: Path, capsys: Any) -> None:
    """A CSV that could be uploaded; what hangs together is told beside it."""
    rows = drawn(plain, 20)
    write_rows(
        tmp_path / "rows.csv",
        jobs.SCHEMA.__class__(jobs.SCHEMA.columns[:4]),
        [{name: row[name] for name in ("patient", "age", "dose", "ward")} for row in rows],
    )
    assert len(read_rows(tmp_path / "rows.csv")) == 20
    say_pairs(plain)
    assert "ill" in capsys.readouterr().out


def test_another_schema_or_a_file_of_another_kind_is_refused(plain: SyntheticTable) -> None:
    """By field; and what is no such file is not read as one."""
    narrower = jobs.SCHEMA.__class__(jobs.SCHEMA.columns[:4])
    with pytest.raises(InvalidError):
        plain.rows(narrower, 10)
    with pytest.raises(InvalidError):
        SyntheticTable.read(b"{}")
