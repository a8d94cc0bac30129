"""One request in front of the policy that answers it, and the question that is put to the rows.

Rules
-----
1. A case is what every check and every rule looks at; nothing else reaches them.
2. Only strings from closed sets and identifiers go to the rows: no text that a person typed.
3. The object is the dataset for actions on a dataset, and the tenant for all others, whatever else the request names.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from kernel.ids import GrantId, PrincipalId, Slug
from policies.datasets import GovernedDataset
from policies.grants import Obligations
from policies.matcher import ANY, Reaches, Row
from policies.requests import DATASET_ACTIONS, AccessRequest
from policies.ruleset import TENANT_CLASS
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Action, Reason, Sensitivity


class No(NamedTuple):
    """A refusal: what decided, and why."""

    rule: Slug
    reason: Reason


class Yes(NamedTuple):
    """A right, perhaps under a grant."""

    rule: Slug
    reason: Reason = Reason.ALLOWED
    grant: GrantId | None = None
    obligations: Obligations | None = None


Answer: TypeAlias = Yes | No


class Question(NamedTuple):
    """The model's fields without the layer, and what the linked ones reach."""

    fields: Row
    reach: Reaches


class Case(NamedTuple):
    """One request, the policy that answers it, and the dataset it is about, if the action concerns one."""

    snapshot: PolicySnapshot
    request: AccessRequest
    dataset: GovernedDataset | None

    @classmethod
    def of(cls, snapshot: PolicySnapshot, request: AccessRequest) -> Case:
        """Look up the dataset; an unknown one stays `None`."""
        concerns = request.dataset if request.action in DATASET_ACTIONS else None
        return cls(snapshot, request, None if concerns is None else snapshot.datasets.get(concerns))

    def question(self, principal: PrincipalId, action: Action, requester: PrincipalId | None) -> Question:
        """The request as the model's fields."""
        dataset = self.dataset
        owner = self.request.holder if dataset is None else dataset.owner
        return self.asked(
            (
                principal,
                self.snapshot.tenant,
                TENANT_CLASS if dataset is None else dataset.id,
                action,
                owner or "",
                requester or "",
                self.request.purpose or "",
                Sensitivity.PUBLIC if dataset is None else dataset.sensitivity,
            )
        )

    def asked(self, fields: Row) -> Question:
        """A question with these fields; the layer is chosen when it is put."""
        return Question(fields, self.snapshot.book.reach((ANY, *fields)))

    def deciding_row(self, layer: str, question: Question) -> Row | None:
        """The row that decides the question in a layer."""
        return self.snapshot.book.enforce((layer, *question.fields), question.reach)

    def matching_rows(self, layer: str, question: Question) -> list[Row]:
        """All rows that apply to the question in a layer."""
        return self.snapshot.book.matching((layer, *question.fields), question.reach)

    def has_effect(self, row: Row | None, effect: str) -> bool:
        """Whether there is a row and it has that effect."""
        return row is not None and row[self.snapshot.book.matcher.effect] == effect
