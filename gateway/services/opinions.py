"""What a second accountant says of a price, and whom to ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from kernel.amounts import Delta
from kernel.events import Parameter
from kernel.ids import Slug
from privacy.accounting.mechanisms import MechanismUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """What another accountant, asked before anything is signed, says of the same mechanisms.

    Attributes:
        pld_epsilon: Its epsilon by privacy loss distributions; absent where they do not express the job.
    """

    library: Slug
    version: Slug
    order: int
    rdp: Parameter
    pld_epsilon: Parameter | None


Opinion: TypeAlias = Callable[[tuple[MechanismUse, ...], int, Delta], SecondOpinion]
"""Asks for one; raises `ConflictError` if it does not agree, `UnavailableError` if it cannot say now."""
