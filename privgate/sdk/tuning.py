"""Tuning requests from what a trainer says: what is searched, and how many tries there may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from kernel.errors import InvalidError
from privgate.sdk.amounts import Number, decimal_text
from privgate.sdk.requests import training_request

Values: TypeAlias = "Sequence[Number] | Mapping[str, Any]"
"""The values of a figure, or a range: `{"low": 0.1, "high": 10, "values": 5}`."""

MEMBERS: Final = frozenset({"search", "tries", "score_epsilon"})
"""What a request to tune has beside that of a training."""


def tuning_request(
    dataset: str,
    *,
    search: Mapping[str, Values] | None = None,
    tries: int | Mapping[str, Any] | None = None,
    score_epsilon: Number | None = None,
    **training: Any,
) -> dict[str, Any]:
    """Write a request to train candidates and release the best; see docs/formats/job-spec.md, "Tuning".

    Args:
        dataset: Its id.
        search: Figures of the recipe (`clip`, `learning_rate`, `momentum`, `weight_decay`) with the values, or the
            range of values, that a candidate may have. Learning rates about the recipe's if absent.
        tries: The most tries there may be, or any of `most`, `shape` and `gamma`.
        score_epsilon: Of scoring alone, to people held out.
        training: As for `training_request`.
    """
    request = training_request(dataset, **training) | {"kind": "tuning"}
    if search is not None:
        request["search"] = {name: _values(values, name) for name, values in search.items()}
    if tries is not None:
        request["tries"] = {"most": tries} if isinstance(tries, int) else _tries(tries)
    if score_epsilon is not None:
        request["score_epsilon"] = decimal_text(score_epsilon, "score_epsilon")
    return request


def _values(values: Values, name: str) -> Any:
    if isinstance(values, Mapping):
        bounds = {end: decimal_text(values[end], end) for end in ("low", "high") if end in values}
        return {**values, **bounds}
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidError(f"`{name}` must be a list of values, or a range with low, high and values", field=name)
    return [decimal_text(value, name) for value in values]


def _tries(tries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if name == "most" else decimal_text(value, name) for name, value in tries.items()}
