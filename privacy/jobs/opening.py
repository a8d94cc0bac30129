"""What is read of a request before anybody looks closer: of what kind, on what, and why.

Whoever may not ask at all learns nothing more of it; and whoever tries a request out elsewhere is told the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernel.checks import text
from kernel.ids import DatasetId, Slug
from privacy.jobs.spec import JobKind, kind_of_request


@dataclass(frozen=True, slots=True)
class Opening:
    """The first lines of a request."""

    kind: JobKind
    dataset: DatasetId
    purpose: Slug

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Opening:
        """Read them; raise `InvalidError` if one of them is not what it must be."""
        kind = kind_of_request(body)
        dataset = DatasetId(text(64, dataset=body.get("dataset", "")))
        return cls(kind, dataset, Slug(text(64, purpose=body.get("purpose", ""))))
