"""The child of a synthetic table: a real confined process, from sealed rows to counts that anybody draws from."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.errors import PrivgateError
from privacy.jobs.assignment import SynthesisAssignment
from privacy.sandbox.endings import Ending
from privacy.synthesis.report import Counted, open_synthesis, read_synthesis, synthesis_bytes
from privacy.synthesis.runner import counted
from tests.support import jobs, synthesis


def test_a_confined_child_counts_sealed_rows(tmp_path: Path) -> None:
    """What it sends: that it rehearsed, that it starts, the result. The noise is small here, so that rows show."""
    sealed = jobs.seal([jobs.people(300, rows_each=2), jobs.people(300, seed=8, rows_each=1)], tmp_path)
    assignment = synthesis.assignment(sealed, unit=jobs.PATIENT, epsilon="90", around="ill")
    seen = jobs.converse(assignment, sealed.key.reveal(), sealed.paths)  # type: ignore[arg-type]
    assert seen.ending is Ending.FINISHED
    assert [header for header, _ in seen.frames] == [
        {"m": "rehearsed"},
        {"m": "need", "upto": 1},
        {"m": "result", "steps": 1},
    ]
    assert seen.artifact is not None
    found = read_synthesis(assignment.spec, assignment.plan, seen.artifact)
    assert abs(sum(found.counted.columns[3]) - 900) < 60


def _odd_tables() -> dict[str, pa.Table]:
    usual = jobs.people(40, rows_each=2)
    numbers = [math.nan, math.inf, -math.inf, 1e308, 5e-324]
    broken = pa.table({**jobs.columns_of(usual.slice(0, 5)), "age": pa.array(numbers), "dose": pa.array(numbers)})
    nothing = pa.table({name: pa.nulls(5, usual.schema.field(name).type) for name in usual.column_names})
    return {
        "usual": usual,
        "nobody": usual.slice(0, 0),
        "broken": broken.select(usual.column_names),
        "nothing": nothing,
        "one unit of two thousand rows": pa.concat_tables([usual.slice(0, 1)] * 2000),
    }


@pytest.mark.parametrize("name", sorted(_odd_tables()))
def test_what_leaves_has_one_form_whatever_the_rows_are(tmp_path: Path, name: str) -> None:
    """RULES 11: the same frames and the same ending; the result differs in digits and in the chosen tree alone."""
    sealed = jobs.seal([_odd_tables()[name]], tmp_path)
    assignment = synthesis.assignment(sealed, unit=jobs.PATIENT)
    seen = jobs.converse_here(assignment, sealed.key.reveal())  # type: ignore[arg-type]
    assert (seen.ending, [header["m"] for header, _ in seen.frames]) == (
        Ending.FINISHED,
        ["rehearsed", "need", "result"],
    )
    assert seen.artifact is not None
    found = read_synthesis(assignment.spec, assignment.plan, seen.artifact)
    assert len(found.counted.tree) == 4
    if name == "one unit of two thousand rows":
        # Three of its rows count, whatever else the file holds; the deviation on each count is some 130.
        assert all(abs(number) < 1500 for noisy in found.counted.columns for number in noisy)


def test_a_child_that_is_told_to_stop_says_nothing_more(tmp_path: Path) -> None:
    """A cancelled job has no result."""
    sealed = jobs.seal([jobs.people(10)], tmp_path)
    assignment = synthesis.assignment(sealed)
    seen = jobs.converse_here(assignment, sealed.key.reveal(), lambda _: jobs.STOP)  # type: ignore[arg-type]
    assert (seen.artifact, seen.ending) == (None, Ending.FINISHED)


def test_an_assignment_is_consistent_or_cannot_be_built(tmp_path: Path) -> None:
    """Plan, request, schema and unit belong together."""
    whole = synthesis.assignment(jobs.seal([], tmp_path), unit=jobs.PATIENT)
    other = synthesis.assignment(jobs.seal([], tmp_path), unit=jobs.PATIENT, bins=4)
    narrower = dataclasses.replace(jobs.SCHEMA, columns=jobs.SCHEMA.columns[:4])
    for change in ({"plan": other.plan}, {"spec": other.spec}, {"unit": jobs.RECORD}, {"schema": narrower}):
        with pytest.raises(PrivgateError):
            dataclasses.replace(whole, **change)
    body = canonical.decode(whole.to_bytes(), limit=2**24)
    for broken in (body | {"role": "statistics"}, body | {"v": 2}, body | {"seed": 7}, body | {"parts": "x"}):
        with pytest.raises(PrivgateError):
            SynthesisAssignment.from_bytes(canonical.encode(broken))


def test_strong_pairs_are_chosen_and_counts_are_near_the_rows() -> None:
    """Age, dose and smoking tell who is ill: at epsilon 3 the tree hangs together by that, and noise is as planned."""
    people = jobs.people(6000)
    asked = synthesis.spec(epsilon="3")
    plan = synthesis.plan(jobs.facts(public_size=6000), epsilon="3")
    exact = synthesis.exact(asked, people)
    found = counted(asked, plan, exact)
    assert {(0, 4), (1, 4), (3, 4)} <= {branch.pair for branch in found.tree}
    pairs = dict(zip(asked.pairs, exact[5:], strict=True))
    errors = [a - b for branch in found.tree for a, b in zip(branch.noisy, pairs[branch.pair].tolist(), strict=True)]
    deviation = float(plan.pair_deviation.number)
    assert 0.7 * deviation < math.sqrt(sum(e * e for e in errors) / len(errors)) < 1.3 * deviation
    assert counted(asked, plan, exact).columns != found.columns, "the same noise twice"


@pytest.fixture(scope="module")
def released() -> bytes:
    """A file as a job releases it."""
    return synthesis.released(jobs.people(500), around="ill")


CHANGES: dict[str, Any] = {
    "a member more": lambda body: body.update(rows=500),
    "another format": lambda body: body.update(format="privgate/statistics/v1"),
    "a column less": lambda body: body["columns"].pop(),
    "a count more": lambda body: body["columns"][0].append(1),
    "a fraction": lambda body: body["columns"][0].__setitem__(0, "1.5"),
    "a truth": lambda body: body["columns"][0].__setitem__(0, True),
    "a pair twice": lambda body: body["tree"].__setitem__(1, body["tree"][0]),
    "a pair less": lambda body: body["tree"].pop(),
    "a pair of one column": lambda body: body["tree"][0].update(first=body["tree"][0]["second"]),
    "a pair the other way round": lambda body: body["tree"][0].update(
        first=body["tree"][0]["second"], second=body["tree"][0]["first"]
    ),
    "a column that is not there": lambda body: body["tree"][0].update(second=4),
    "a column before the first": lambda body: body["tree"][0].update(first=-1),
    "a member of a pair": lambda body: body["tree"][0].update(score=17),
    "counts of another pair's size": lambda body: body["tree"][0]["noisy"].append(0),
    "less noise than was paid for": lambda body: body["deviations"].update(pairs="1"),
    "another plan": lambda body: body["plan"].update(noise_multiplier="0.1"),
    "another request": lambda body: body["request"].update(epsilon="2"),
    "a tree that is none": lambda body: body.update(tree={"0": 1}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_written_so_is_refused(released: bytes, name: str) -> None:
    """By the reader that launcher, verifier and trainer share."""
    body = canonical.decode(released, limit=2**24)
    CHANGES[name](body)
    with pytest.raises(PrivgateError):
        open_synthesis(canonical.encode(body))


def test_bytes_beside_the_one_way_of_writing_are_refused(released: bytes) -> None:
    """A space, a tail, nothing at all, and another request's file."""
    found = open_synthesis(released)
    assert synthesis_bytes(found.spec, found.plan, found.counted) == released
    for broken in (released + b" ", released[:-1], b"", b"[]", b"null", released.replace(b":", b": ", 1)):
        with pytest.raises(PrivgateError):
            open_synthesis(broken)
    with pytest.raises(PrivgateError):
        read_synthesis(synthesis.spec(), synthesis.plan(), released)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_file_says_it_is_read_or_refused(released: bytes, data: st.DataObject) -> None:
    """Hostile files: anything in the place of anything, and no other error than a refusal."""
    body = canonical.decode(released, limit=2**24)
    odd = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    )
    place = data.draw(st.sampled_from([*body, "tree/0", "columns/0", "tree/0/noisy", "tree/0/first", "plan/cells"]))
    *path, last = place.split("/")
    inside: Any = body
    for step in path:
        inside = inside[int(step)] if step.isdigit() else inside[step]
    value = data.draw(odd)
    if isinstance(inside, list):
        inside[int(last)] = value
    else:
        inside[last] = value
    try:
        encoded = canonical.encode(body)
    except PrivgateError:
        return
    try:
        found = open_synthesis(encoded)
    except PrivgateError:
        return
    assert synthesis_bytes(found.spec, found.plan, found.counted) == encoded
    assert isinstance(found.counted, Counted)
