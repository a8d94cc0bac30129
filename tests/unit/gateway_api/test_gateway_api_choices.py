"""An owner's choice of epsilon: what was shown and why, in the log; the reason itself beside it."""

from __future__ import annotations

from typing import Any

from tests.support.api import House, done, population_body, refused

REASON = "The board took three because a year of jobs fits."


def choices(made: House) -> list[dict[str, Any]]:
    """What the log says of choices so far."""
    return [entry["fields"] for entry in made.log() if entry["type"] == "budget:chosen"]


def test_what_was_shown_is_logged_with_its_odds(made: House) -> None:
    """The gateway works the odds out; the reason is a commitment, its text in no entry."""
    choice = {"alternatives": ["8", "1", "3"], "reason": REASON}
    body = population_body(epsilon="3", delta="0.000001", unit_domain="chosen", choice=choice)
    created = done(made["owner"].post("/v1/populations", body), 201)
    (chosen,) = choices(made)
    assert chosen["population"] == created["population"]
    assert [one["epsilon"] for one in chosen["alternatives"]] == ["1", "3", "8"]
    odds = [one["odds"] for one in chosen["alternatives"]]
    assert 50 < odds[0] < odds[1] < odds[2] <= 100
    assert chosen["odds"] == odds[1] == created["odds"]
    assert chosen["reason"]
    assert REASON not in str(made.log())


def test_a_changed_budget_is_a_choice_too(made: House) -> None:
    """With its reason, at the order that was fixed with the population; the same epsilon again is no change."""
    body = population_body(unit_domain="changed", epsilon="3", delta="0.000001")
    created = done(made["owner"].post("/v1/populations", body), 201)
    change = {"epsilon": "4", "choice": {"alternatives": ["3", "4"], "reason": REASON}}
    path = f"/v1/populations/{created['population']}"
    for _ in range(2):
        seen = {"If-Match": made["owner"].get(path).headers["ETag"]}
        changed = done(made["owner"].put(f"{path}/budget", change, headers=seen))
    (chosen,) = [choice for choice in choices(made) if choice["population"] == created["population"]]
    assert (chosen["epsilon"], chosen["order"]) == ("4", created["order"])
    assert chosen["odds"] == changed["odds"] == chosen["alternatives"][1]["odds"] > created["odds"]


def test_without_a_choice_nothing_is_logged_about_one(made: House) -> None:
    """A program that names epsilon was shown nothing."""
    before = choices(made)
    done(made["owner"].post("/v1/populations", population_body(unit_domain="unasked")), 201)
    assert choices(made) == before


def test_choices_that_are_none_are_refused(made: House) -> None:
    """A budget that holds nothing, too many, a member that there is not; and no population is left behind."""
    before = len(done(made["owner"].get("/v1/populations")))
    for choice, field in (
        ({"alternatives": ["0.000001"]}, "epsilon"),
        ({"alternatives": [str(n) for n in range(1, 18)]}, "choice.alternatives"),
        ({"odds": 50}, "choice"),
    ):
        answer = made["owner"].post("/v1/populations", population_body(unit_domain="none", choice=choice))
        assert refused(answer, 422, "invalid")["field"] == field
    assert len(done(made["owner"].get("/v1/populations"))) == before
