"""Records as they were read, before anything was checked. Child only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some consecutive records.

    Attributes:
        first: Number of the first record in the file, from 1.
        columns: The declared columns by name, each an Arrow array; texts where the form has nothing else.
        rows: How many records.
        wrong: For some columns, which records hold something that no column of the schema can hold (a nested object).
    """

    first: int
    columns: Mapping[str, Any]
    rows: int
    wrong: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
