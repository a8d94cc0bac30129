"""Savepoints: a run's state as bytes, readable under its job's key and for its own plan only. Child only.

Rules
-----
1. A savepoint holds noisy state and the number of steps: nothing random, nothing counted, no key.
2. Its length follows from the model's size alone.
3. It opens under the key, job, step and plan it was made for; anything else is `CorruptError`.

Form: docs/formats/savepoint.md.
"""

from __future__ import annotations

import numpy as np

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import JobId, Slug, TenantId
from privacy.graph.weights import NamedArrays
from privacy.sealing.chunked import BlobKind, blob_context, decrypt_bytes, encrypt_bytes
from privacy.sealing.deks import Label, subkey
from privacy.sealing.secret import SecretBytes
from privacy.training.plan_runner import RunState

FORMAT = "privgate/savepoint/v1"
_VECTORS = ("total", "velocity", "weights")


def pack_state(state: RunState, plan: Digest) -> bytes:
    """Write a state, not yet encrypted."""
    arrays = {"weights": state.weights, "velocity": state.velocity, "total": state.total}
    texts = {"format": FORMAT, "plan": str(plan), "step": str(state.step)}
    return NamedArrays(arrays=arrays, texts=texts).to_bytes()


def unpack_state(data: bytes, plan: Digest, step: int, size: int) -> RunState:
    """Read what `pack_state` wrote for this plan and step.

    Args:
        data: The bytes.
        plan: Digest of the plan that resumes.
        step: The step it resumes from.
        size: How many weights its model has.

    Raises:
        CorruptError: They are another's, or not finite.
    """
    named = NamedArrays.from_bytes(data)
    if named.texts != {"format": FORMAT, "plan": str(plan), "step": str(step)}:
        raise CorruptError("a savepoint of another plan or step")
    arrays = named.arrays
    if tuple(sorted(arrays)) != _VECTORS or any(a.shape != (size,) or a.dtype != np.float64 for a in arrays.values()):
        raise CorruptError("a savepoint of another model")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise CorruptError("a savepoint that is not finite")
    return RunState(step=step, weights=arrays["weights"], velocity=arrays["velocity"], total=arrays["total"])


def seal_state(state: RunState, plan: Digest, key: SecretBytes, tenant: TenantId, job: JobId) -> bytes:
    """Encrypt a state under a job's key."""
    return encrypt_bytes(pack_state(state, plan), subkey(key, Label.BLOB), _context(tenant, job, state.step))


def open_state(
    sealed: bytes, plan: Digest, step: int, size: int, key: SecretBytes, tenant: TenantId, job: JobId
) -> RunState:
    """Decrypt what `seal_state` wrote; raise `CorruptError` if it is not this job's savepoint of this step."""
    data = decrypt_bytes(sealed, subkey(key, Label.BLOB), _context(tenant, job, step))
    return unpack_state(data, plan, step, size)


def _context(tenant: TenantId, job: JobId, step: int) -> bytes:
    return blob_context(BlobKind.SAVEPOINT, tenant, job, Slug(f"step-{step}"))
