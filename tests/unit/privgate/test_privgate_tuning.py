"""Tuning requests as trainers write them, in Python and on the command line, and quotes as they read them."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.errors import InvalidError
from privacy.jobs.spec import complete_tuning
from privgate.cli.quotes import written_request
from privgate.sdk.jobs import _selection_lines
from privgate.sdk.tuning import tuning_request
from tests.support import jobs

WANTED: dict[str, Any] = {"purpose": "research", "epsilon": 1, "label": "ill"}
FLAGS = {"label": "ill", "model": None, "recipe": None, "release": None}


def flags(**choices: Any) -> dict[str, Any]:
    """A request from the command line."""
    return written_request(None, str(jobs.DATASET), "research", "1", **(FLAGS | choices))


def test_numbers_become_the_text_that_they_are_written_as() -> None:
    """Lists, ranges and tries in Python; the gateway reads what comes out."""
    request = tuning_request(
        str(jobs.DATASET),
        search={"clip": [0.3, 1], "learning_rate": {"low": 0.1, "high": 10, "values": 3}},
        tries={"most": 8, "gamma": 0.05},
        score_epsilon=0.5,
        **WANTED,
    )
    assert request["search"] == {"clip": ["0.3", "1"], "learning_rate": {"low": "0.1", "high": "10", "values": 3}}
    assert request["tries"] == {"most": 8, "gamma": "0.05"}
    spec = complete_tuning(request, jobs.SCHEMA, jobs.facts())
    assert (spec.search.candidates, spec.tries.most, str(spec.score_epsilon)) == (6, 8, "0.5")
    assert spec.search.to_json()["learning_rate"] == ["0.1", "1", "10"]


def test_only_what_was_said_goes_in() -> None:
    """The gateway fills in the rest."""
    assert tuning_request("dst_a", **WANTED).keys() == {"kind", "dataset", "purpose", "epsilon", "label"}
    assert tuning_request("dst_a", tries=4, **WANTED)["tries"] == {"most": 4}


@pytest.mark.parametrize("values", ["1", 1, {1, 2}])
def test_what_is_no_list_of_values_is_refused_by_name(values: Any) -> None:
    """A text would be cut into its letters."""
    with pytest.raises(InvalidError) as refused:
        tuning_request("dst_a", search={"clip": values}, **WANTED)
    assert refused.value.field == "clip"


def test_flags_write_the_same_request() -> None:
    """Values after commas, or a range; with neither it is a training."""
    written = flags(search=["clip=0.3,1", "learning_rate=0.1..10:3"], tries=8)
    said = tuning_request(
        str(jobs.DATASET),
        search={"clip": ["0.3", "1"], "learning_rate": {"low": "0.1", "high": "10", "values": 3}},
        tries=8,
        **WANTED,
    )
    assert written == said
    assert flags(tries=8)["kind"] == "tuning"
    assert flags()["kind"] == "training"


@pytest.mark.parametrize("pair", ["clip", "clip=", "clip=1..2", "clip=1..2:x"])
def test_a_flag_that_cannot_be_read_is_refused(pair: str) -> None:
    """With how to write it."""
    with pytest.raises(InvalidError, match=r"low\.\.high:values"):
        flags(search=[pair])


def test_a_price_beyond_every_budget_is_said_in_words() -> None:
    """The way that is not taken may cost more than any figure can show."""
    selection = {
        "candidates": 4,
        "most_tries": 8,
        "mean_tries": "3.2",
        "taken": "selection",
        "selected": "1.5",
        "one_try": "1",
        "score_epsilon": "0.5",
        "score_charge": "0.1",
        "score_available": "7",
    }
    told = dict(_selection_lines(selection))
    assert told["priced by"] == "selection: composed beyond every budget, selected 1.5; one try 1"
    assert _selection_lines(None) == []
