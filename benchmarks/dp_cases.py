"""The cases of `make bench-dp`: four networks, their batches, and made-up rows of the right form.

Rules
-----
1. One description of a network serves everybody: the graph that we train, and the shapes of the peers' modules.
2. Rows are made up from a fixed seed: speed does not depend on what they say, and nothing here is private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SEED = 20261127
POPULATION = 65_536
CLIP = 1.0
NOISE_MULTIPLIER = 1.0
LEARNING_RATE = 1 / 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network and its rows.

    Attributes:
        name: What the peers build it by.
        model: Its template and choices, as a job request writes them.
        shape: Of one row.
        tokens: How many different tokens a row's numbers name; 0 if they are plain numbers.
        classes: How many a label can name.
        outputs: Scores of a row: 1 where a logistic loss decides between two classes.
    """

    name: str
    model: Mapping[str, Any]
    shape: tuple[int, ...]
    tokens: int = 0
    classes: int = 2
    outputs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured.

    Attributes:
        name: Of the case in the results.
        network: What is trained.
        batch: Rows of a logical batch: exact in a step, expected end to end.
        end_to_end: Whether the data path counts: sampling, gathering, micro-batches.
        physical: Rows of a micro-batch at the peers, end to end.
    """

    name: str
    network: Network
    batch: int
    end_to_end: bool = False
    physical: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Made-up rows: features float32 [n, *shape], labels int64 [n]."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


LOGISTIC: Final = Network(name="logistic", model={"template": "logistic"}, shape=(100,), outputs=1)
MLP: Final = Network(name="mlp", model={"template": "mlp", "hidden": [256, 256], "activation": "relu"}, shape=(100,))
CNN: Final = Network(
    name="cnn",
    model={"template": "cnn", "image": [1, 28, 28], "activation": "relu"},
    shape=(1, 28, 28),
    classes=10,
    outputs=10,
)
TRANSFORMER: Final = Network(
    name="transformer",
    model={"template": "transformer", "vocabulary": 1000, "dim": 64, "heads": 4, "layers": 2, "length": 32},
    shape=(32,),
    tokens=1000,
)

CASES: Final = (
    Case(name="logistic-1024", network=LOGISTIC, batch=1024),
    Case(name="mlp-256", network=MLP, batch=256),
    Case(name="mlp-1024", network=MLP, batch=1024),
    Case(name="cnn-64", network=CNN, batch=64),
    Case(name="cnn-256", network=CNN, batch=256),
    Case(name="transformer-256", network=TRANSFORMER, batch=256),
    Case(name="e2e-logistic-4096", network=LOGISTIC, batch=4096, end_to_end=True, physical=4096),
    Case(name="e2e-mlp-4096", network=MLP, batch=4096, end_to_end=True, physical=1024),
)


def case_named(name: str) -> Case:
    """The case of that name; raise `KeyError` if there is none."""
    return {case.name: case for case in CASES}[name]


def rows_of(case: Case) -> Table:
    """A step's batch, or end to end a population to draw from."""
    return made_up(case.network, POPULATION if case.end_to_end else case.batch)


def made_up(network: Network, rows: int) -> Table:
    """Rows of a network: tokens, or numbers in [-1, 1]; labels at random."""
    draw = np.random.default_rng(SEED)
    shape = (rows, *network.shape)
    if network.tokens:
        features = draw.integers(0, network.tokens, shape).astype(np.float32)
    else:
        features = draw.uniform(-1, 1, shape).astype(np.float32)
    return Table(features=features, labels=draw.integers(0, network.classes, rows))
