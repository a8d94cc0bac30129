"""The model of a blind training, as its owner finds it, and the commitment that he signs. Pure.

Rules
-----
1. It is exact: as good as the rows to whoever tries. It never leaves the owner's site by this program, and says so.
2. The commitment is keyed by a random salt inside the file: it confirms no guess of the model, and the owner can show
   later, by showing the file, which model a certificate was about.

Form: docs/formats/he-blind.md, "Model".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.ids import JobId
from privacy.glm.matrices import applied
from privacy.homomorphic.blind.spec import BlindPlan
from privacy.jobs.strict import bytes_of, members_of, text_from

FORMAT: Final = "privgate/he-blind-model/v1"
LIMIT: Final = 2**20
SALT_BYTES: Final = 32
PRIVACY: Final = "exact: no noise was added; handing it out discloses what it tells about the people in the rows"
CHANCE: Final = "0.5 + 0.15012 z - 0.001593 z^3"
_DOMAIN: Final = b"privgate/he-blind-model/v1\0"
_MEMBERS: Final = (
    "v", "format", "privacy", "job", "plan", "chance", "table", "weights", "salt",
)  # fmt: skip
_TEN_DIGITS: Final = Context(prec=10, rounding=ROUND_HALF_EVEN)


def model_bytes(job: JobId, plan: BlindPlan, weights: Sequence[float], salt: bytes) -> bytes:
    """Write the owner's file.

    Args:
        job: Which job.
        plan: What was trained.
        weights: In unit ranges, the constant's first.
        salt: Random.
    """
    outer, added = plan.design.own_units()
    values = [a + b for a, b in zip(applied(outer, list(weights)), added, strict=True)]
    return canonical.encode(
        {
            "v": 1,
            "format": FORMAT,
            "privacy": PRIVACY,
            "job": job,
            "plan": plan.to_json(),
            "chance": CHANCE,
            "table": [
                {"term": term, "coefficient": _text(value)}
                for term, value in zip(plan.design.names, values, strict=True)
            ],
            "weights": [weight.hex() for weight in weights],
            "salt": text_from(salt),
        }
    )


def commitment(model: bytes) -> Digest:
    """What the owner signs of a model's file; raise `InvalidError` if it is none."""
    body = read_model(model)
    salt = bytes_of(body["salt"], "salt", SALT_BYTES)
    return Digest.from_raw(hmac.new(salt, _DOMAIN + model, hashlib.sha256).digest())


def read_model(data: bytes) -> dict[str, Any]:
    """Read the owner's file; raise `InvalidError` if it is none."""
    body = dict(members_of(canonical.decode(data, limit=LIMIT, canonical=True), "model", _MEMBERS))
    head = {"v": 1, "format": FORMAT, "privacy": PRIVACY, "chance": CHANCE}
    if any(body[name] != value for name, value in head.items()):
        raise InvalidError("not the model of a blind training", field="format")
    return body


def _text(value: float) -> str:
    return format(_TEN_DIGITS.create_decimal(Decimal(value)), "f")
