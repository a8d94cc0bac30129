"""Main of the confined child: confine, then run one role, then say nothing.

Rules
-----
1. The first frame comes from the parent and is all that is read before the confinement holds.
2. The roles are this table. A name from outside is looked up in it and never imported.
3. Nothing is printed, logged or traced: both outputs lead nowhere, and an error becomes a bare exit code.
4. One thread, and denormals flushed wherever rows are computed with: they are slow, on chosen rows or with a crafted
   model. Not at ingest: there a row's number is part of who the row is, and its owner alone sees how long it takes.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from kernel.errors import PrivgateError
from privacy.sandbox import scratch
from privacy.sandbox.confine import confine
from privacy.sandbox.denormals import flush_denormals
from privacy.sandbox.endings import ExitCode
from privacy.sandbox.frames import Channel, expect
from privacy.sandbox.limits import Level, Limits

Runner = Callable[[Channel, Mapping[str, Any]], None]

ROLES: Mapping[str, str] = {
    "ingest": "privacy.ingest.runner",
    "train": "privacy.training.runner",
    "evaluate": "privacy.evaluation.runner",
    "tune": "privacy.tuning.runner",
    "statistics": "privacy.statistics.runner",
    "glm": "privacy.glm.runner",
    "synthesis": "privacy.synthesis.runner",
    "he-keys": "privacy.homomorphic.runner",
    "he-encrypt": "privacy.homomorphic.runner",
    "he-add": "privacy.homomorphic.runner",
    "he-aggregate": "privacy.homomorphic.runner",
    "he-decrypt-sum": "privacy.homomorphic.runner",
    "he-decrypt": "privacy.homomorphic.runner",
    "he-ask": "privacy.homomorphic.runner",
    "he-infer": "privacy.homomorphic.runner",
    "he-read": "privacy.homomorphic.runner",
    "he-site": "privacy.homomorphic.site.runner",
    "he-blind": "privacy.homomorphic.runner",
    "he-blind-site": "privacy.homomorphic.blind.site_runner",
}
_TENSOR_ROLES = frozenset({"train", "tune", "evaluate"})
_SCRATCH_ROLES = frozenset(role for role in ROLES if role.startswith("he-"))
"""Those whose library reads and writes files alone: they have one in memory (`privacy.sandbox.scratch`)."""
_EXACT_ROLES = frozenset({"ingest"})


def main(arguments: Sequence[str], find: Callable[[str], Runner] | None = None) -> NoReturn:
    """Run one child to its end.

    Args:
        arguments: Descriptor to read from, descriptor to write to, process id of the parent.
        find: How a role's runner is found; tests give their own, the program never does.
    """
    _silence()
    os._exit(_run(arguments, find or _runner))


def _run(arguments: Sequence[str], find: Callable[[str], Runner]) -> int:
    try:
        receiving, sending, parent = (int(argument) for argument in arguments)
        channel = Channel(receiving, sending)
        order, _ = channel.receive()
        role, request = order["role"], order["request"]
        if role in _SCRATCH_ROLES:
            scratch.descriptor()
        _confine(channel, order, parent)
    except BaseException:  # noqa: BLE001
        return ExitCode.UNCONFINED
    try:
        runner = find(role)
        _settle(role)
        runner(channel, {**request, "role": role})
    except PrivgateError:
        return ExitCode.REFUSED
    except MemoryError:
        return ExitCode.NO_MEMORY
    except BaseException as error:  # noqa: BLE001
        # torch has no exception of its own for this.
        return ExitCode.NO_MEMORY if "can't allocate memory" in str(error) else ExitCode.CRASHED
    return ExitCode.FINISHED


def _confine(channel: Channel, order: Mapping[str, Any], parent: int) -> None:
    limits, minimum, readable, _, _, writable = expect(
        order, "limits", "minimum", "readable", "request", "role", "writable"
    )
    level = confine(
        Limits.from_json(limits),
        readable=[Path(path) for path in readable],
        writable=None if writable is None else Path(writable),
        minimum=Level(minimum),
        parent=parent,
    )
    channel.send({"level": level.value, "m": "ready"})


def _runner(role: str) -> Runner:
    runner: Runner = importlib.import_module(ROLES[role]).main
    return runner


def _settle(role: str) -> None:
    if role not in _EXACT_ROLES:
        flush_denormals()
    if role in _TENSOR_ROLES:
        import torch

        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        torch.set_flush_denormal(True)


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    main(sys.argv[1:])
