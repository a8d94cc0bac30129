"""Asking the second accountant from the API's process, which may not load it: in a process of its own.

Rules
-----
1. The question is declared parameters alone, so that the same one has the same answer, and is asked once.
2. Whoever cannot be asked has not agreed: nothing is reserved and nothing is signed (RULES 25).
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from typing import Any, Final

from gateway.services.opinions import SecondOpinion
from kernel import canonical
from kernel.amounts import Delta
from kernel.errors import ConflictError, PrivgateError, UnavailableError
from kernel.events import Parameter
from kernel.ids import Slug
from privacy.accounting.mechanisms import MechanismUse

LIMIT: Final = 1 << 16
SECONDS: Final = 120


@lru_cache(maxsize=256)
def ask_aside(uses: tuple[MechanismUse, ...], order: int, delta: Delta) -> SecondOpinion:
    """What dp-accounting says of the uses.

    Raises:
        ConflictError: It does not agree with our price, and will not tomorrow.
        UnavailableError: It could not be asked.
    """
    question: dict[str, Any] = {"delta": str(delta), "order": order, "uses": [use.to_fields() for use in uses]}
    command = [sys.executable, "-m", "gateway.launchers.second_opinion"]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, by our own interpreter
            command, input=canonical.encode(question), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=SECONDS, check=True,
        )  # fmt: skip
        body = canonical.decode(done.stdout, limit=LIMIT)
    except (OSError, subprocess.SubprocessError, PrivgateError):
        raise UnavailableError("the second accountant could not be asked: try again later") from None
    if not isinstance(body, dict) or "agreed" not in body:
        raise ConflictError("the second accountant does not agree with this price: nothing can be certified")
    return _read(body["agreed"])


def _read(said: dict[str, Any]) -> SecondOpinion:
    loss = said.get("pld_epsilon")
    return SecondOpinion(
        library=Slug(said["library"]),
        version=Slug(said["version"]),
        order=int(said["order"]),
        rdp=Parameter(said["rdp"]),
        pld_epsilon=None if loss is None else Parameter(loss),
    )
