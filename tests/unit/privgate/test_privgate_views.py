"""What the gateway answers, as values: complete, frozen, printable, escaped."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import Any

import pytest

from kernel.errors import CorruptError, InvalidError
from privgate.sdk.amounts import ahead_text, decimal_text, moment_text
from privgate.sdk.datasets import Dataset
from privgate.sdk.html import card, table
from privgate.sdk.jobs import Quote, _largest
from privgate.sdk.session import identifier
from privgate.sdk.view import in_words
from privgate.sdk.views import Block, Grant, Identity, Policy, Population, Token, Version

EVIL = "<script>alert('x')</script><img src=x onerror=y>\"'&"
POPULATION: dict[str, Any] = {
    "population": "pop_" + "a" * 26, "owner": "prn_" + "a" * 26, "unit_kind": "record", "unit_noun": "patient",
    "unit_domain": "d", "adjacency": "add-or-remove-one-unit", "public_size": 500, "holdout_share": "0.2",
    "epsilon": "8", "delta": "0.000001", "order": 4, "capacity": "4", "committed": "1.0001",
    "blocks": [{"block": "train", "charged": "1", "held": "0.0001"}], "retired": False, "uncovered_since": None,
    "odds": 97, "ledger_seq": 3,
}  # fmt: skip
DATASET: dict[str, Any] = {
    "dataset": "dst_" + "a" * 26, "title": EVIL, "description": EVIL, "owner": "prn_" + "a" * 26,
    "population": "pop_" + "a" * 26, "unit_noun": "patient", "public_size": 500, "state": "sealed",
    "sensitivity": "confidential", "purposes": ["research"], "legal_basis": "not-personal-data",
    "retention_until": "2030-01-01T00:00:00Z", "unit": {"kind": "record", "noun": "patient"},
    "home_size": 500, "holdout_share": "0.2", "delta": "0.000001", "order": 4,
    "table": {"columns": [{"name": "sex", "kind": "categorical", "categories": [EVIL, "b"]}]},
}  # fmt: skip


class Tags(HTMLParser):
    """Collects the tags and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    """Parsed."""
    tags = Tags()
    tags.feed(page)
    return tags


def test_a_view_has_what_it_declares_and_passes_over_what_it_does_not_know() -> None:
    """A view has what it declares and passes over what it does not know."""
    body = {"tenant": "t", "principal": "p", "roles": ["owner"], "invented_later": 1}
    assert Identity.read(body) == Identity(tenant="t", principal="p", roles=("owner",))


@pytest.mark.parametrize("body", [None, [], "text", {}, {"tenant": "t", "principal": "p"}])
def test_an_answer_without_a_member_is_a_sentence(body: Any) -> None:
    """An answer without a member is a sentence."""
    with pytest.raises(CorruptError, match="gateway"):
        Identity.read(body)


def test_views_are_frozen() -> None:
    """Views are frozen."""
    view = Identity.read({"tenant": "t", "principal": "p", "roles": []})
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.tenant = "other"  # type: ignore[misc]


def test_a_token_is_printed_nowhere() -> None:
    """A token is printed nowhere."""
    token = Token.read({"principal": "p", "credential": "c", "token": "pgw_secret"})
    assert token.token == "pgw_secret"
    for shown in (repr(token), token._repr_html_(), str(token.lines()), str(token.to_json())):
        assert "pgw_secret" not in shown


@pytest.mark.parametrize(
    "page",
    [
        Dataset.read(DATASET, gateway=None)._repr_html_(),
        card(EVIL, [(EVIL, EVIL)]),
        table(EVIL, [EVIL], [[EVIL]]),
    ],
    ids=["dataset", "card", "table"],
)
def test_other_peoples_texts_are_escaped_in_a_notebook(page: str) -> None:
    """No tag and no attribute but ours; the text itself is all there."""
    found = parsed(page)
    assert found.tags <= {"table", "caption", "b", "tr", "th", "td", "thead", "tbody"}
    assert found.attributes <= {"style"}
    assert EVIL in found.text


def test_the_share_of_a_budget_is_rounded_up() -> None:
    """The share of a budget is rounded up."""
    assert Population.read(POPULATION).spent_and_held == "25.1 %"


def test_a_population_holds_its_blocks() -> None:
    """A population holds its blocks."""
    found = Population.read(POPULATION)
    assert [block.block for block in found.blocks] == ["train"]
    assert found.to_json()["blocks"] == POPULATION["blocks"]
    (block,) = found.blocks
    assert ("block train", f"{block.charged} charged, {block.held} held") in found.lines()


def test_a_quote_joins_figures_and_request() -> None:
    """A quote joins figures and request."""
    figures = {
        "epsilon": "3", "delta": "0.000001", "order": 9, "unit": "patient", "odds": 66, "noise_multiplier": "5.4",
        "steps": 160, "block": "train", "charge": "0.7",
        "hold": "0.8", "capacity": "4", "available": "4", "budget_share": "0.171", "fits": True, "further": 5,
    }  # fmt: skip
    quote = Quote.read({"quote": figures, "spec": {"v": 1}, "request_digest": "sha256:00"}, gateway=None)
    assert (quote.largest_epsilon, quote.request, quote.request_digest) == (None, {"v": 1}, "sha256:00")
    assert ("share of the budget", "17.1 %") in quote.lines()


def test_the_first_problem_of_an_upload_names_place_and_rule() -> None:
    """The first problem of an upload names place and rule."""
    problems = {"problems": [{"row": 3, "column": "age", "rule": "out-of-bounds"}], "more": False}
    body = {"version": "v", "dataset": "d", "state": "refused", "created_at": "t", "problems": problems, "rows": None}
    assert Version.read(body).first_problem == "row 3, column age, out-of-bounds"


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (0.1, "0.1"), ("0.50", "0.5"), (1e-6, "0.000001"), ("1e-6", "0.000001"), (100, "100")]
)
def test_amounts_are_the_decimals_that_people_wrote(value: Any, text: str) -> None:
    """Amounts are the decimals that people wrote."""
    assert decimal_text(value, "epsilon") == text


@pytest.mark.parametrize("value", ["", "x", "1_0", " 1", "\uff11", float("nan"), float("inf"), True, None])
def test_what_is_no_number_is_refused_by_its_field(value: Any) -> None:
    """What is no number is refused by its field."""
    with pytest.raises(InvalidError) as caught:
        decimal_text(value, "epsilon")
    assert caught.value.field == "epsilon"


def test_a_date_is_its_first_second() -> None:
    """A date is its first second."""
    assert moment_text("2030-01-01", "until") == "2030-01-01T00:00:00Z"
    assert moment_text("2030-01-01T12:00:00Z", "until") == "2030-01-01T12:00:00Z"


def test_what_has_no_id_is_not_taken_by_one() -> None:
    """A purpose is its own name; an id of another kind is no id here, and the right prefix is said."""
    with pytest.raises(InvalidError, match="iterate"):
        identifier("research", "purpose")
    with pytest.raises(InvalidError, match="pop_"):
        identifier("job_" + "a" * 26, "population")


def test_a_policy_and_the_blocks_of_a_population_are_shown_in_words() -> None:
    """No name of a class, no bracket of a list: what an owner reads is a sentence."""
    told = {
        "approvals": [
            {"sensitivity": "restricted", "job_kind": "training"},
            {"sensitivity": "restricted", "job_kind": "glm"},
            {"sensitivity": "confidential", "job_kind": "glm"},
        ],
        "ceilings": [{"sensitivity": "public", "epsilon": "3"}],
        "checked_by": ["owner", "checker"],
    }
    lines = dict(Policy(epoch=1, digest="sha256:0", policy=told).lines())
    assert lines["waits for its owner"] == "training, glm on restricted data; glm on confidential data"
    assert lines["leaves unchecked"] == "up to epsilon 3 from public data"
    assert dict(Policy(epoch=1, digest="sha256:0", policy={}).lines())["checked by"] == "nobody"
    blocks = (Block(block="train", charged="0.5", held="0"), Block(block="holdout", charged="0", held="0"))
    assert in_words(blocks) == "block train, charged 0.5, held 0; block holdout, charged 0, held 0"


def granted(**obligations: Any) -> Grant:
    """A grant with such obligations."""
    return Grant(
        grant="grt_x",
        principal="prn_x",
        dataset="dst_x",
        purpose="research",
        until="2099-01-01T00:00:00Z",
        job_kinds=("training", "glm", "statistics"),
        obligations={"approval_required": False} | obligations,
        state="active",
    )


def test_where_the_policy_is_stricter_than_a_grant_its_owner_is_told() -> None:
    """An approval that the grant does not ask for, and a ceiling without which nothing goes by itself."""
    told = {
        "approvals": [{"sensitivity": "restricted", "job_kind": kind} for kind in ("training", "glm")],
        "ceilings": [{"sensitivity": "confidential", "epsilon": "2"}],
    }
    policy = Policy(epoch=1, digest="sha256:0", policy=told)
    (waits,) = policy.beyond(granted(), "restricted")
    assert "asks for no approval; the tenant's policy does, of training, glm on restricted data" in waits
    assert policy.beyond(granted(approval_required=True), "restricted") == []
    assert policy.beyond(granted(), "confidential") == []
    _, nothing = policy.beyond(granted(auto_release_epsilon="6"), "restricted")
    assert nothing.startswith("Nothing is released automatically")
    (less,) = policy.beyond(granted(auto_release_epsilon="6"), "confidential")
    assert "up to epsilon 2:" in less
    assert policy.beyond(granted(auto_release_epsilon="1"), "confidential") == []


def test_a_quote_tells_the_lesser_of_budget_and_grant() -> None:
    """And which of the two it is, for only one of them can be asked for more."""
    assert _largest("17.65", None) == _largest("17.65", "20") == "epsilon 17.65"
    assert _largest("17.65", "6").startswith("epsilon 6, the most that your grant allows")
    assert _largest(None, "6") == "none"


@pytest.mark.parametrize("written", ["2001-01-01", "2001-01-01T00:00:00Z", "2030", "next year", "2030-13-01"])
def test_a_grant_that_is_over_before_it_begins_is_a_mistake(written: str) -> None:
    """So is a text that is no date; the field is named."""
    with pytest.raises(InvalidError) as caught:
        ahead_text(written, "until")
    assert caught.value.field == "until"


@pytest.mark.parametrize("written", ["", "../trust", "dst_" + "a" * 26 + "/x", "dst_" + "A" * 26, "a?b=c", "a%2fb"])
def test_what_is_no_id_never_becomes_a_part_of_an_address(written: str) -> None:
    """What is no id never becomes a part of an address."""
    with pytest.raises(InvalidError):
        identifier(written, "dataset")
