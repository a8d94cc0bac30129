"""The second accountant's opinion on what a job costs. Only a worker loads it: it brings numpy and scipy."""

from __future__ import annotations

from gateway.services.certify import SecondOpinion
from kernel.amounts import Delta
from privacy.accounting import google
from privacy.accounting.mechanisms import MechanismUse


def ask_dp_accounting(uses: tuple[MechanismUse, ...], order: int, delta: Delta) -> SecondOpinion:
    """Return what dp-accounting says of the uses; raise `ConflictError` if it does not agree with our price."""
    agreed = google.agree(uses, order=order, delta=delta)
    return SecondOpinion(
        library=agreed.library,
        version=agreed.version,
        order=agreed.order,
        rdp=agreed.rdp,
        pld_epsilon=agreed.pld_epsilon,
    )
