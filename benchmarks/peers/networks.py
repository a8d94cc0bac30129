"""The benchmark's networks as anybody writes them in torch; parameters in the order of our graphs' weights."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.dp_cases import Network, Table


class Positions(nn.Module):
    """A learned vector for each place of a sequence."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(length, dim)
        self._length = length

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Add it."""
        # Repeated, not expanded: Opacus' ghost norms of embeddings want contiguous places.
        places = torch.arange(self._length).repeat(len(rows), 1)
        added: torch.Tensor = rows + self.table(places)
        return added


class Block(nn.Module):
    """A pre-norm encoder layer: attention, then a perceptron, each added to what came in."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm2 = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Shape [n, length, dim] stays."""
        rows = rows + self._attention(self.norm1(rows))
        hidden = functional.gelu(self.up(self.norm2(rows)), approximate="tanh")
        added: torch.Tensor = rows + self.down(hidden)
        return added

    def _attention(self, rows: torch.Tensor) -> torch.Tensor:
        batch, length, dim = rows.shape
        parts = [
            layer(rows).view(batch, length, self._heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        mixed = functional.scaled_dot_product_attention(*parts)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, dim))
        return out


class Mean(nn.Module):
    """The mean over a sequence."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Shape [n, length, dim] -> [n, dim]."""
        return rows.mean(dim=1)


def module_of(network: Network) -> nn.Module:
    """The network as a torch module with torch's own start."""
    torch.manual_seed(0)
    match network.name:
        case "logistic":
            return nn.Sequential(nn.Linear(100, 1), nn.Flatten(0))
        case "mlp":
            return nn.Sequential(
                nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, network.outputs)
            )
        case "cnn":
            return _cnn(network)
        case _:
            return _transformer(network)


def criterion_of(network: Network) -> nn.Module:
    """Its loss, averaged over the batch."""
    return nn.BCEWithLogitsLoss() if network.outputs == 1 else nn.CrossEntropyLoss()


def tensors_of(network: Network, table: Table) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and labels in the types that torch's layers and losses take."""
    features, labels = torch.from_numpy(table.features), torch.from_numpy(table.labels)
    return (features.long() if network.tokens else features), (labels.float() if network.outputs == 1 else labels)


def load_flat(module: nn.Module, flat: NDArray[object]) -> None:
    """Set the parameters from one vector in the graph's order."""
    values = torch.from_numpy(flat)
    offset = 0
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(values[offset : offset + parameter.numel()].view_as(parameter))
            offset += parameter.numel()
    if offset != len(flat):
        raise ValueError("the module and the graph have different numbers of weights")


def _cnn(network: Network) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, network.outputs),
    )  # fmt: skip


def _transformer(network: Network) -> nn.Module:
    return nn.Sequential(
        nn.Embedding(1000, 64), Positions(32, 64), Block(64, 4), Block(64, 4),
        nn.LayerNorm(64), Mean(), nn.Linear(64, network.outputs),
    )  # fmt: skip
