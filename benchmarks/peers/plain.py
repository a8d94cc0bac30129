"""Ordinary training in eager torch, without privacy: the baseline.

End to end, `plain` draws a fresh permutation for each pass and gathers batches from tensors in memory, and
`plain-dataloader` is torch's DataLoader over the same tensors with its default collate.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.dp_cases import LEARNING_RATE, Case, rows_of
from benchmarks.dp_timing import Steps
from benchmarks.peers.networks import criterion_of, module_of, tensors_of


def plain(case: Case) -> Steps:
    """Step on the batch in memory; end to end, on batches gathered from memory."""
    rows, labels = tensors_of(case.network, rows_of(case))
    if case.end_to_end:
        return _training(case, _shuffled(rows, labels, case.batch))
    return _training(case, _repeated(rows, labels))


def with_loader(case: Case) -> Steps:
    """End to end with torch's DataLoader."""
    loader = DataLoader(TensorDataset(*tensors_of(case.network, rows_of(case))), case.batch, shuffle=True)
    return _training(case, _passes(loader))


def _training(case: Case, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Steps:
    module, criterion = module_of(case.network), criterion_of(case.network)
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)

    def steps(count: int) -> None:
        for _ in range(count):
            rows, labels = next(batches)
            optimizer.zero_grad()
            criterion(module(rows), labels).backward()
            optimizer.step()

    return steps


def _repeated(rows: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield rows, labels


def _shuffled(rows: torch.Tensor, labels: torch.Tensor, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        for chosen in torch.randperm(len(rows)).split(batch):
            yield rows[chosen], labels[chosen]


def _passes(loader: DataLoader[tuple[torch.Tensor, ...]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield from ((rows, labels) for rows, labels in loader)
