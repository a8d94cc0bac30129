"""The second accountant's opinion on what a job costs. Only a worker loads it: it brings numpy and scipy.

Run as a program it answers one question, in JSON on its standard streams, for whoever may not load it
(`gateway.launchers.opinion_aside`).
"""

from __future__ import annotations

import sys

from gateway.services.opinions import SecondOpinion
from kernel import canonical
from kernel.amounts import Delta
from kernel.errors import PrivgateError
from privacy.accounting import google
from privacy.accounting.mechanisms import MechanismUse

LIMIT = 1 << 16


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


def answer(question: bytes) -> bytes:
    """The agreement on a question as JSON; a bare `refused` where there is none."""
    body = canonical.decode(question, limit=LIMIT)
    uses = tuple(MechanismUse.from_fields(use) for use in body["uses"])
    try:
        agreed = google.agree(uses, order=body["order"], delta=Delta.parse(body["delta"]))
    except PrivgateError as error:
        return canonical.encode({"refused": error.kind.value})
    return canonical.encode({"agreed": agreed.to_fields()})


if __name__ == "__main__":
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read(LIMIT)))
