"""What a kind of job on data of sites asks: the part that all kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from privacy.homomorphic.noise import Protected
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.plans import CollectionPlan, Sites
from privacy.schema import TableSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a request in short form is completed by.

    Attributes:
        schema: The first site's columns.
        sites: How many sites there are.
        public_size: How many units all populations have together, as their owners declare it (RULES 13).
        noised: Whether the result is to have noise.
    """

    schema: TableSchema
    sites: int
    public_size: int
    noised: bool


class Question(ABC):
    """What one kind asks. Subclasses are frozen dataclasses.

    Attributes:
        KIND: Which kind.
        ARTIFACT: The name of the file that is released.
        NEEDED, OPTIONAL: Members of a request in short form.
        FORM: Members in the final form; those of `FORM_AT_TIMES` hang on the others.
        NOT_HERE: Members that people ask for in vain, and why there are none.
    """

    __slots__ = ()
    KIND: ClassVar[CollectionKind]
    ARTIFACT: ClassVar[str]
    NEEDED: ClassVar[tuple[str, ...]]
    OPTIONAL: ClassVar[tuple[str, ...]]
    FORM: ClassVar[tuple[str, ...]]
    FORM_AT_TIMES: ClassVar[tuple[str, ...]] = ()
    NOT_HERE: ClassVar[Mapping[str, str]] = {}

    @property
    def gaussians(self) -> int:
        """How many Gaussians a result with noise composes: one over all that is decrypted, unless a kind has more."""
        return 1

    @property
    def protects(self) -> Protected:
        """Whom noise protects, where there is any."""
        return Protected.PERSON

    @property
    def missing(self) -> int:
        """How many sites may be missing in a round."""
        return 0

    def weights_of(self, sites: int) -> tuple[int, ...]:
        """What each site weighs: a declared constant, never a count of rows (RULES 37)."""
        return (1,) * sites

    @abstractmethod
    def columns(self) -> frozenset[str] | None:
        """Which columns it reads; nothing if it is all of them."""

    @abstractmethod
    def plan(self, sites: Sites) -> CollectionPlan:
        """What every party computes by; raise `InvalidError` if the question does not fit the schema."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""

    @classmethod
    @abstractmethod
    def complete(cls, members: Mapping[str, Any], declared: Declared) -> Self:
        """Fill in what a trainer left out."""

    @classmethod
    @abstractmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Read the final form's members."""

    @classmethod
    @abstractmethod
    def read_plan(cls, body: Mapping[str, Any]) -> CollectionPlan:
        """Read an order's `plan`."""
