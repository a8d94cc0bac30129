"""The shipped rules: model, role rows, and the digest that a decision cites.

Rules
-----
1. A decision names the rule set that made it. A rule set that ever decided stays in the program (`rules/retired/`), so
   that an old decision can be made again.
2. Role rows are data. Each is checked against the vocabulary when it is read; a file with one wrong row is refused.
3. `CHECKS_VERSION` is raised when a typed check answers differently than before for any request.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from kernel.canonical import Digest, digest_of
from kernel.errors import InvalidError
from kernel.ids import Slug
from policies.links import LinkChange
from policies.matcher import ANY, Row, load_matcher
from policies.principals import MEMBER
from policies.rulebook import ALLOW, DENY, RuleBook, empty_book
from policies.vocabulary import Action, Role, Sensitivity

CHECKS_VERSION = 1
INDEX_BY = ("lay", "act", "sub", "obj")
MODEL_TEXT = files("policies").joinpath("models/model.conf").read_text(encoding="utf-8")

ROLE, GRANTED, GRANT = "role", "granted", "grant"
TENANT_CLASS, DATASET_CLASS = "tenant", "dataset"
_COLUMNS = ("role", "action", "object", "relation", "sensitivity", "layer", "effect", "rule")
_ALLOWED = {
    "role": {*Role, MEMBER},
    "action": set(Action),
    "object": {TENANT_CLASS, DATASET_CLASS},
    "relation": {"any", "owner", "requester"},
    "sensitivity": set(Sensitivity),
    "layer": {ROLE, GRANTED},
    "effect": {ALLOW, DENY},
}


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Role rows under the model, and their digest.

    Attributes:
        digest: Names model, rows and checks together.
        book: The rows that hold for every tenant, with the links that hold for every tenant.
    """

    digest: Digest
    book: RuleBook


@cache
def standard_rules() -> RuleSet:
    """The rule set in force."""
    return rule_set(files("policies").joinpath("rules/roles.csv").read_text(encoding="utf-8"))


def rules_named(digest: Digest) -> RuleSet | None:
    """The rule set with that digest, in force or retired; `None` if this program does not have it."""
    return _rule_sets().get(digest)


@cache
def _rule_sets() -> dict[Digest, RuleSet]:
    retired = files("policies").joinpath("rules/retired").iterdir()
    found = [rule_set(file.read_text(encoding="utf-8")) for file in retired if file.name.endswith(".csv")]
    return {rules.digest: rules for rules in (standard_rules(), *found)}


def rule_set(roles_text: str) -> RuleSet:
    """Build a rule set from the text of a roles file.

    Raises:
        InvalidError: A column, word, rule name or duplicate that the file must not have.
    """
    parts: dict[str, int | str] = {"checks": CHECKS_VERSION, "model": MODEL_TEXT, "roles": roles_text}
    upward = [LinkChange(True, low, high) for low, high in pairwise(Sensitivity)]
    book = empty_book(load_matcher(MODEL_TEXT, INDEX_BY)).with_links({"g4": upward})
    return RuleSet(digest_of("rules/v1", parts), book.with_rows((True, row) for row in role_rows(roles_text)))


def role_rows(roles_text: str) -> list[Row]:
    """Read a roles file into rows of the model."""
    reader = csv.DictReader(roles_text.splitlines())
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise InvalidError(f"a roles file has the columns {', '.join(_COLUMNS)}", field="roles")
    rows = [_role_row(line, number) for number, line in enumerate(reader, start=2)]
    if len({row[-1] for row in rows}) != len(rows):
        raise InvalidError("two rows have the same rule name", field="roles")
    return rows


def _role_row(line: dict[str, str], number: int) -> Row:
    for column, words in _ALLOWED.items():
        if line[column] not in words:
            raise InvalidError(f"line {number}: `{column}` is not one of the known words", field="roles")
    if line["effect"] == DENY and line["layer"] != ROLE:
        raise InvalidError(f"line {number}: a deny row stands in the layer `role`, which is asked first", field="roles")
    order = ("layer", "role", ANY, "object", "action", "relation", ANY, "sensitivity", "effect")
    return (*(ANY if column == ANY else line[column] for column in order), Slug(line["rule"]))
