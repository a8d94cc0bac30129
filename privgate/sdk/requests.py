"""Job requests from what a trainer says: only what was said goes in, the gateway fills in the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.errors import InvalidError
from privgate.sdk.amounts import Number, decimal_text

DECIMALS = frozenset({"sampling_rate", "clip", "learning_rate", "momentum", "weight_decay"})


def training_request(
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    label: str | Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a training request; see docs/formats/job-spec.md.

    Args:
        dataset: Its id.
        purpose: Why.
        epsilon: Of this job alone.
        label: The name of the column to predict; every other column then becomes a feature by default.
        features: In place of `label`: transforms and label in full (docs/formats/features.md).
        model: `logistic`, `linear`, or `{"template": "mlp", "hidden": [32], "activation": "relu"}`.
        recipe: Any of `sampling_rate` (or `expected_batch`), `steps`, `clip`, `learning_rate`, `schedule`, `momentum`,
            `weight_decay`, `averaging`.
    """
    if (label is None) == (features is None):
        raise InvalidError("give `label`, the column to predict, or `features` in full", field="label")
    chosen = {"template": model} if isinstance(model, str) else model
    optional: dict[str, Any] = {
        "label": label,
        "features": None if features is None else dict(features),
        "model": None if chosen is None else dict(chosen),
        "recipe": None if recipe is None else _recipe(recipe),
    }
    return {
        "kind": "training",
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
        **{name: value for name, value in optional.items() if value is not None},
    }


def evaluation_request(
    release: str,
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    bins: int | None = None,
    accuracy_share: Number | None = None,
) -> dict[str, Any]:
    """Write a request to evaluate a released model on a dataset's holdout."""
    body: dict[str, Any] = {
        "v": 1,
        "kind": "evaluation",
        "release": release,
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
    }
    if bins is not None:
        body["bins"] = bins
    if accuracy_share is not None:
        body["accuracy_share"] = decimal_text(accuracy_share, "accuracy_share")
    return body


def _recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decimal_text(value, name) if name in DECIMALS else value for name, value in recipe.items()}
