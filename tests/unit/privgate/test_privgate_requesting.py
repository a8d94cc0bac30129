"""Requesting on the screen: how a request is written, and what a trainer's own grant allows beside the budget."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kernel.errors import InvalidError
from privgate.cli.exits import Exit, explain
from privgate.cli.quotes import read_request, written_request
from privgate.cli.requesting import cap_of, naming_the_cap
from privgate.client.errors import DeniedError, NotFoundError
from privgate.sdk.requests import synthesis_request
from privgate.survival import baseline
from tests.support.sources import ROOT

MANUAL = ROOT / "docs" / "CLI.md"
REQUEST = {"kind": "training", "dataset": "dst_a"}


def grant(cap: str | None, **other: Any) -> SimpleNamespace:
    """A grant of `prn_me` with such a cap."""
    usual: dict[str, Any] = {"grant": "grt_a", "principal": "prn_me", "dataset": "dst_a", "state": "active"}
    limits = {} if cap is None else {"max_epsilon": cap}
    return SimpleNamespace(**usual | {"job_kinds": ("training",), "obligations": limits} | other)


def connected(*grants: SimpleNamespace) -> Any:
    """A gateway that lists these grants to `prn_me`."""
    return SimpleNamespace(whoami=lambda: SimpleNamespace(principal="prn_me"), grants=grants)


@pytest.mark.parametrize(
    ("grants", "cap"),
    [
        ([], None),
        ([grant("6")], "6"),
        ([grant("6"), grant("10")], "10"),
        ([grant("6"), grant(None)], None),
        (
            [grant("6"), grant("9", state="revoked"), grant("9", principal="prn_other"), grant("9", dataset="dst_b")],
            "6",
        ),
        ([grant("6"), grant(None, job_kinds=("statistics",))], "6"),
    ],
)
def test_the_cap_is_the_most_that_any_own_grant_for_this_allows(grants: list[SimpleNamespace], cap: str | None) -> None:
    """Never less than what holds, and nothing where one grant has none."""
    assert cap_of(connected(*grants), REQUEST) == cap


def test_a_request_that_names_its_grant_is_held_to_that_one() -> None:
    """The others do not count for it."""
    grants = connected(grant("6"), grant("10", grant="grt_b"))
    assert cap_of(grants, REQUEST | {"grant": "grt_a"}) == "6"


def test_a_refusal_for_more_than_the_grant_allows_says_how_much_that_is(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the trainer's own grant; other refusals stay as they are."""
    for reason, said in (("epsilon-above-grant", True), ("grant-expired", False)):
        refusal = DeniedError(403, {"detail": "no", "reason": reason})
        with pytest.raises(DeniedError) as denied, naming_the_cap(connected(grant("6")), REQUEST):
            raise refusal
        assert explain(denied.value) == Exit.DENIED
        assert ("largest epsilon: 6" in capsys.readouterr().err) is said


def test_without_a_list_of_grants_nothing_is_said_of_them() -> None:
    """A quote is worth having without it."""

    def nobody() -> SimpleNamespace:
        raise NotFoundError(404, {})

    assert cap_of(SimpleNamespace(whoami=nobody), REQUEST) is None  # type: ignore[arg-type]  # all that is asked


def test_the_column_that_a_table_is_drawn_around_is_one_of_its_columns() -> None:
    """Whoever names columns and another one to predict means both."""
    said: dict[str, Any] = {"purpose": "p", "epsilon": 1, "around": "ill"}
    assert synthesis_request("dst_a", columns=["age", "crp"], **said)["columns"] == ["age", "crp", "ill"]
    assert synthesis_request("dst_a", columns=["ill", "age"], **said)["columns"] == ["ill", "age"]
    assert "columns" not in synthesis_request("dst_a", **said)


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"label": "ill"}, "training"),
        ({"label": "ill", "search": {"clip": ["1"]}}, "tuning"),
        ({"family": "hazard", "outcome": "died", "predictors": ["age"]}, "glm"),
        ({"queries": [{"kind": "count"}]}, "statistics"),
        ({"release": "rel_a"}, "evaluation"),
        ({"around": "ill"}, "synthesis"),
        ({"kind": "he.glm", "family": "linear"}, "he.glm"),
    ],
)
def test_a_file_without_a_kind_is_told_by_its_members(members: dict[str, Any], kind: str, tmp_path: Path) -> None:
    """As flags are: nobody is refused a training that he never asked for. Where nothing tells it, it is asked for."""
    said = {"dataset": "dst_a", "purpose": "p", "epsilon": "3"}
    (tmp_path / "job.json").write_text(json.dumps(said | members))
    assert read_request(tmp_path / "job.json")["kind"] == kind
    (tmp_path / "bare.json").write_text(json.dumps(said))
    with pytest.raises(InvalidError, match="say `kind`"):
        read_request(tmp_path / "bare.json")


def test_the_manuals_survival_model_is_a_hazard_with_exact_edges(tmp_path: Path) -> None:
    """The example of the manual, word by word; whole numbers are amounts, and a model's own are left alone."""
    example = re.search(r"```yaml\n([^`]*family: hazard.*?)```", MANUAL.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "hazard.yaml").write_text(example[1] + "model: {edges: [3]}\n")
    read = read_request(tmp_path / "hazard.yaml")
    assert (read["kind"], read["epsilon"], read["model"]) == ("glm", "3", {"edges": [3]})
    assert read["predictors"][-1] == baseline(12, at_most=4)


def test_a_perceptron_without_layers_is_told_how_to_write_them() -> None:
    """With the form of a file and the flag; with the flag it is a request."""
    said: dict[str, Any] = {"dataset": "dst_a", "purpose": "p", "epsilon": "3", "label": "ill"}
    with pytest.raises(InvalidError, match=r'\{"template": "mlp", "hidden": \[8\]\}.*--hidden 8'):
        written_request(**said, model="mlp")
    assert written_request(**said, model="mlp", hidden=[16, 8])["model"] == {"template": "mlp", "hidden": [16, 8]}
    for model in (None, "own.json"):
        with pytest.raises(InvalidError, match="goes with a template"):
            written_request(**said, model=model, hidden=[8])
