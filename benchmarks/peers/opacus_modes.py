"""Opacus 1.6 by `make_private`: per-sample gradients by hooks, or ghost clipping. Its own default noise source.

End to end: its Poisson-sampling DataLoader and its BatchMemoryManager, as its documents say.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from opacus import PrivacyEngine
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.dp_cases import CLIP, LEARNING_RATE, NOISE_MULTIPLIER, Case, rows_of
from benchmarks.dp_timing import Steps
from benchmarks.peers.networks import criterion_of, module_of, tensors_of

warnings.filterwarnings("ignore", message="Secure RNG turned off")
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)


def hooks(case: Case) -> Steps:
    """Per-sample gradients, the default."""
    return _private(case, "hooks")


def ghost(case: Case) -> Steps:
    """Ghost clipping: norms without per-sample gradients where its layers know how, and two backward passes."""
    return _private(case, "ghost")


def _private(case: Case, mode: str) -> Steps:
    rows, labels = tensors_of(case.network, rows_of(case))
    module = module_of(case.network)
    optimizer: Any = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
    made = PrivacyEngine().make_private(
        module=module,
        optimizer=optimizer,
        criterion=criterion_of(case.network),
        data_loader=DataLoader(TensorDataset(rows, labels), batch_size=case.batch),
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=CLIP,
        grad_sample_mode=mode,
    )
    # Ghost clipping returns a criterion of its own besides.
    module, optimizer, criterion, loader = (
        made if len(made) == 4 else (made[0], made[1], criterion_of(case.network), made[2])
    )
    if case.end_to_end:
        return _counted(_sampled(case, module, optimizer, criterion, loader))
    return _counted(_repeated(module, optimizer, criterion, rows, labels))


def _counted(taken: Iterator[None]) -> Steps:
    def steps(count: int) -> None:
        for _ in range(count):
            next(taken)

    return steps


def _repeated(module: nn.Module, optimizer: Any, criterion: Any, rows: Any, labels: Any) -> Iterator[None]:
    while True:
        _step(module, optimizer, criterion, rows, labels)
        yield


def _sampled(case: Case, module: nn.Module, optimizer: Any, criterion: Any, loader: Any) -> Iterator[None]:
    """A logical step each time; its micro-batches are those that the memory manager cuts."""
    while True:
        with BatchMemoryManager(
            data_loader=loader, max_physical_batch_size=case.physical, optimizer=optimizer
        ) as batches:
            for rows, labels in batches:
                if _step(module, optimizer, criterion, rows, labels):
                    yield


def _step(module: nn.Module, optimizer: Any, criterion: Any, rows: Any, labels: Any) -> bool:
    """One micro-batch; whether it ended a logical batch."""
    optimizer.zero_grad()
    criterion(module(rows), labels).backward()
    optimizer.step()
    return not optimizer._is_last_step_skipped  # noqa: SLF001 - Opacus has no public way to ask
