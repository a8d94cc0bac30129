"""Savepoints: a run's state as bytes, readable under its job's key and for its own plan only. Child only.

Rules
-----
1. A savepoint holds noisy state, the next clip and the account: which mechanism was started how often, by declared
   numbers, and in which attempt. Nothing random, nothing counted, no key.
2. Its length follows from the model's size alone: numbers in its head are written with a fixed number of digits.
3. It opens under the key, job, step and plan it was made for, and only if its account is that of the plan; anything
   else is `CorruptError`.

Form: docs/formats/savepoint.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from kernel import canonical
from kernel.errors import CorruptError
from kernel.ids import JobId, Slug, TenantId
from privacy.graph.weights import NamedArrays
from privacy.jobs.plan import TrainingPlan
from privacy.sealing.chunked import BlobKind, blob_context, decrypt_bytes, encrypt_bytes
from privacy.sealing.deks import Label, subkey
from privacy.sealing.secret import SecretBytes
from privacy.training.state import RunState

FORMAT = "privgate/savepoint/v1"
_VECTORS = ("clip", "total", "velocity", "weights")


def pack_state(state: RunState, plan: TrainingPlan) -> bytes:
    """Write a state, not yet encrypted."""
    clip = np.array([math.nan if state.clip is None else state.clip])
    arrays = {"weights": state.weights, "velocity": state.velocity, "total": state.total, "clip": clip}
    return NamedArrays(arrays=arrays, texts=_texts(state, plan)).to_bytes()


def unpack_state(data: bytes, plan: TrainingPlan, step: int, size: int) -> RunState:
    """Read what `pack_state` wrote for this plan and step.

    Args:
        data: The bytes.
        plan: The plan that resumes.
        step: The step it resumes from.
        size: How many weights its model has.

    Raises:
        CorruptError: They are another's, or not finite.
    """
    named = NamedArrays.from_bytes(data)
    shapes = {name: (1 if name == "clip" else size,) for name in _VECTORS}
    arrays = named.arrays
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise CorruptError("a savepoint of another model")
    if any(array.dtype != np.float64 or not np.isfinite(array).all() for array in arrays.values()):
        raise CorruptError("a savepoint that is not finite")
    state = RunState(
        step=step,
        weights=arrays["weights"],
        velocity=arrays["velocity"],
        total=arrays["total"],
        clip=float(arrays["clip"][0]),
        attempt=_whole(named.texts, "attempt"),
        started=_whole(named.texts, "started"),
    )
    # What was read must be what this plan writes: one comparison for format, plan, step and mechanism.
    if named.texts != _texts(state, plan) or state.started < step:
        raise CorruptError("a savepoint of another plan or step")
    return state


def _texts(state: RunState, plan: TrainingPlan) -> dict[str, str]:
    """The head: whose it is, and the account of what was started up to here."""
    (mechanism,) = plan.uses()
    return {
        "format": FORMAT,
        "plan": str(plan.digest),
        "step": str(state.step),
        "attempt": str(state.attempt),
        "mechanism": canonical.encode(mechanism.repeated(1).to_fields()).decode("utf-8"),
        "started": str(state.started),
    }


def _whole(texts: Mapping[str, str], name: str) -> int:
    text = texts.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise CorruptError("a savepoint without its account")
    return int(text)


_DIGITS = 9


def seal_state(state: RunState, plan: TrainingPlan, key: SecretBytes, tenant: TenantId, job: JobId) -> bytes:
    """Encrypt a state under a job's key."""
    return encrypt_bytes(pack_state(state, plan), subkey(key, Label.BLOB), _context(tenant, job, state.step))


def open_state(
    sealed: bytes, plan: TrainingPlan, step: int, size: int, key: SecretBytes, tenant: TenantId, job: JobId
) -> RunState:
    """Decrypt what `seal_state` wrote; raise `CorruptError` if it is not this job's savepoint of this step."""
    data = decrypt_bytes(sealed, subkey(key, Label.BLOB), _context(tenant, job, step))
    return unpack_state(data, plan, step, size)


def _context(tenant: TenantId, job: JobId, step: int) -> bytes:
    return blob_context(BlobKind.SAVEPOINT, tenant, job, Slug(f"step-{step}"))
