"""The child at the site of a blind training: it meets rows, key and weights. One step, then it ends. Child only.

Rules
-----
1. Before anything is encrypted the whole training is made in the clear: if the polynomial's range is left on the way,
   or there are too few persons or too many rows, nothing is.
2. Each gradient is read, rounded, and stepped with; the next weights are encrypted freshly. A gradient that is none, or
   leads out of the range, leaves the weights as they are and the memory spoiled: what goes out looks the same.
3. At the end the weights are held against those of the training in the clear. Where they differ by more than
   `AGREES_WITHIN`, or the memory is spoiled, there is no model.
4. What was decrypted stays here: what leaves are fresh encryptions, and in the end a salted digest.

Form: docs/formats/he-child.md, "Blind training".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernel import canonical
from kernel.errors import CorruptError, InvalidError
from privacy.glm.sums import Cases
from privacy.homomorphic.blind.assignment import LIMIT, MEMORY_LIMIT, ROLE, Answer, BlindAssignment, Memory, Step
from privacy.homomorphic.blind.documents import AGREES_WITHIN
from privacy.homomorphic.blind.recipe import BlindRecipe, Floats, dry_run
from privacy.homomorphic.blind.spec import BlindPlan
from privacy.homomorphic.runner import LARGEST_KEY
from privacy.homomorphic.site.rows import Table, read_table
from privacy.homomorphic.tenseal_backend.approximate import OwnKeys
from privacy.homomorphic.tenseal_backend.blind import BlindOwner
from privacy.ingest.findings import RefusedError
from privacy.sandbox.frames import Channel
from privacy.sandbox.frames import expect as members
from privacy.sealing.secret import SecretBytes
from privacy.training.dialogue import expect
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Make one step of one training over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame, then secret key, memory and gradient if it goes on.
        request: The first frame's header: the role, and which step.

    Raises:
        PrivgateError: The assignment is wrong.
    """
    role, step = members(request, "role", "step")
    if role != ROLE:
        raise InvalidError("this child was started for another role", field="role")
    assignment = BlindAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    try:
        table = read_table(Path(assignment.file), assignment.format, assignment.schema, assignment.unit)
    except RefusedError as refused:
        problems = [problem.to_json() for problem in refused.problems]
        channel.send({"m": Answer.REFUSED.value}, canonical.encode({"more": refused.more, "problems": problems}))
        return
    plan = BlindPlan.from_json(assignment.plan)
    if Step(step) is Step.BEGIN:
        _begin(channel, assignment, plan, table)
    else:
        _go_on(channel, plan, table)


def _begin(channel: Channel, assignment: BlindAssignment, plan: BlindPlan, table: Table) -> None:
    recipe, rows, labels, alive = _examples(plan, table)
    if table.persons(alive) < assignment.least_persons:
        channel.send({"m": Answer.FEW.value})
        return
    if len(rows) > recipe.rows:
        channel.send({"m": Answer.MANY.value})
        return
    try:
        dry_run(recipe, rows, labels)
    except InvalidError:
        channel.send({"m": Answer.RANGE.value})
        return
    owner = BlindOwner(recipe, rows, labels)
    channel.send({"m": Answer.BEGUN.value})
    channel.send({"m": "secret"}, owner.secret.reveal())
    channel.send({"m": "keys"}, owner.evaluation_keys)
    channel.send({"m": "data"}, owner.data())
    _stand(channel, owner, spoiled=False)


def _go_on(channel: Channel, plan: BlindPlan, table: Table) -> None:
    recipe, rows, labels, _ = _examples(plan, table)
    secret = SecretBytes(expect(channel, "secret", LARGEST_KEY))
    memory = Memory.from_bytes(expect(channel, "memory", MEMORY_LIMIT))
    gradient = expect(channel, "gradient", recipe.gradient_form.size)
    owner = BlindOwner(
        recipe, rows, labels, keys=OwnKeys(secret, b""), weights=np.asarray(memory.weights), epochs=memory.epochs
    )
    spoiled = memory.spoiled
    try:
        owner.refresh(gradient)
    except (CorruptError, InvalidError, ArithmeticError, ValueError):
        # Nobody is told now: see the rules of `assignment`.
        owner.epochs, spoiled = owner.epochs + 1, True
    if owner.epochs < recipe.epochs:
        channel.send({"m": Answer.GONE_ON.value})
        _stand(channel, owner, spoiled=spoiled)
        return
    expected = dry_run(recipe, rows, labels).weights
    agrees = not spoiled and float(np.abs(owner.weights - expected).max()) <= float(AGREES_WITHIN)
    channel.send({"m": (Answer.ENDED if agrees else Answer.WRONG).value})
    if agrees:
        channel.send({"m": "memory"}, _memory(owner, spoiled=False))


def _stand(channel: Channel, owner: BlindOwner, *, spoiled: bool) -> None:
    channel.send({"m": "memory"}, _memory(owner, spoiled=spoiled))
    channel.send({"m": "weights"}, owner.weights_body())


def _memory(owner: BlindOwner, *, spoiled: bool) -> bytes:
    return Memory(epochs=owner.epochs, weights=tuple(owner.weights.tolist()), spoiled=spoiled).to_bytes()


def _examples(plan: BlindPlan, table: Table) -> tuple[BlindRecipe, Floats, Floats, Any]:
    """The recipe, rows in unit ranges with the constant first, labels, and which rows of the file these are."""
    encoded = RowEncoder(plan.features, plan.schema).encode(table.rows)
    cases = Cases.of(plan.design, UnitTable.of_records(encoded), per_row=True)
    alive, shape = cases.weights > 0, plan.shape
    recipe = BlindRecipe(
        rows=shape.rows, features=shape.features, epochs=shape.epochs, rate=shape.rate, decay=shape.decay
    )
    return recipe, np.clip(cases.rows[alive], -1.0, 1.0), cases.outcomes[alive], alive
