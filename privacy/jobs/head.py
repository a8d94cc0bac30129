"""What requests of every kind share: version, kind, dataset, purpose, epsilon, and which rows.

Rules
-----
1. A kind of job is one member here; what is particular to it is said in modules of its own (`privacy.jobs.kinds`).
2. Every message names the field and what to write instead, and repeats no value.
3. A kind's request derives from `HeadedSpec` and says only what is its own: its members, their checks, their form.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from kernel.amounts import Epsilon
from kernel.canonical import Digest, digest_of
from kernel.errors import InvalidError
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.jobs.strict import one_of

VERSION = 1
LIMIT = 8 * 2**20
LARGEST_EPSILON = Decimal(100)
COMMON: Final = ("dataset", "purpose", "epsilon")


class JobKind(StrEnum):
    """What kinds of job there are."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    STATISTICS = "statistics"
    GLM = "glm"
    TUNING = "tuning"
    SYNTHESIS = "synthesis"


class RowChoice(StrEnum):
    """Which units of a sealed version a job sees: all, or those whose home block is the version's own."""

    ALL = "all"
    HOME = "home"


def sees_home_alone(request: Mapping[str, Any]) -> bool:
    """Whether a request, in any form, asks for home units alone."""
    return request.get("rows") == RowChoice.HOME.value


def check_epsilon(epsilon: Epsilon) -> None:
    """Raise `InvalidError` unless a job may ask for so much."""
    if not 0 < epsilon.value <= LARGEST_EPSILON:
        raise InvalidError(f"`epsilon` must be above 0 and at most {LARGEST_EPSILON}", field="epsilon")


def check_head(members: Mapping[str, Any], kind: JobKind) -> None:
    """Raise `InvalidError` unless the request is of this version and kind."""
    if members["v"] != VERSION or isinstance(members["v"], bool):
        raise InvalidError("this version reads requests with `v` 1", field="v")
    if members["kind"] != kind.value:
        raise InvalidError(f"`kind` must be {kind}", field="kind")


def head_of(members: Mapping[str, Any]) -> dict[str, Any]:
    """Read what every request says: on what, why, for how much, and on which rows; on all, if it does not say."""
    return {
        "dataset": DatasetId(members["dataset"]),
        "purpose": Slug(members["purpose"]),
        "epsilon": Epsilon.parse(members["epsilon"]),
        "rows": one_of(RowChoice, members.get("rows", RowChoice.ALL.value), "rows"),
    }


def members_of_short(
    body: Any, kind: JobKind, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Return the members of a trainer's short form of one kind, which names its kind and may leave its version out."""
    members = members_of_request(body, ("kind", *COMMON, *needed), ("v", "rows", *optional))
    check_head({"v": VERSION, **members}, kind)
    return members


def members_of_request(body: Any, needed: tuple[str, ...], optional: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a request that has exactly what it needs and what it may have."""
    if not isinstance(body, Mapping) or not set(needed) <= set(body) <= {*needed, *optional}:
        also = f" and may have {', '.join(optional)}" if optional else ""
        raise InvalidError(f"a request needs {', '.join(needed)}{also}, nothing else", field="request")
    return body


class Spec(ABC):
    """A request in its final form, of any kind.

    Attributes:
        kind: Which kind.
    """

    __slots__ = ()
    kind: ClassVar[JobKind]

    @property
    def used_release(self) -> ReleaseId | None:
        """The released model that it uses, which whoever asks must be allowed to fetch: none, for most kinds."""
        return None

    @property
    def digest(self) -> Digest:
        """What decision, approval and reservation bind."""
        return digest_of("job-request/v1", self.to_json())

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadedSpec(Spec):
    """A request with the head that requests share; a kind's own members are its subclass's.

    Attributes:
        NEEDED, OPTIONAL: Names of the kind's own members in the final form.
        dataset, purpose: On what, and why.
        epsilon: Of this job alone, at the population's delta.
        rows: All units of the version, or those at home in its block alone, which charges no other block.
    """

    NEEDED: ClassVar[tuple[str, ...]]
    OPTIONAL: ClassVar[tuple[str, ...]] = ()

    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    rows: RowChoice = RowChoice.ALL

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        self._check()

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says; the choice of rows is written only where it is not all of them."""
        head = {
            "v": VERSION,
            "kind": self.kind.value,
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "epsilon": str(self.epsilon),
        }
        chosen = {} if self.rows is RowChoice.ALL else {"rows": self.rows.value}
        return head | self._own_json() | chosen

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of_request(body, ("v", "kind", *COMMON, *cls.NEEDED), (*cls.OPTIONAL, "rows"))
        check_head(members, cls.kind)
        return cls(**head_of(members), **cls._own_of(members))

    @abstractmethod
    def _check(self) -> None:
        """Raise unless the kind's own members agree."""

    @abstractmethod
    def _own_json(self) -> dict[str, Any]:
        """The kind's own members."""

    @classmethod
    @abstractmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        """Read what `_own_json` writes."""
