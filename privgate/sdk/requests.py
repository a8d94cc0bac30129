"""Job requests from what a trainer says: only what was said goes in, the gateway fills in the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from kernel.errors import InvalidError
from privgate.sdk.amounts import Number, decimal_text


@runtime_checkable
class WrittenModel(Protocol):
    """What can write itself into a request: the models of `privgate.modelling`."""

    def to_request(self) -> Mapping[str, Any]:
        """The member `model`: a graph, and the values that it starts from."""
        ...


_PICKLED = frozenset({"pt", "pth", "bin", "ckpt", "pkl", "pickle"})
_READERS = {"pt2": "from_pt2", "onnx": "from_onnx"}
DECIMALS = frozenset({"sampling_rate", "clip", "learning_rate", "momentum", "weight_decay"})


def training_request(
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    label: str | Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | WrittenModel | None = None,
    recipe: Mapping[str, Any] | None = None,
    home: bool = False,
) -> dict[str, Any]:
    """Write a training request; see docs/formats/job-spec.md.

    Args:
        dataset: Its id.
        purpose: Why.
        epsilon: Of this job alone.
        label: The name of the column to predict; every other column then becomes a feature by default.
        features: In place of `label`: transforms and label in full (docs/formats/features.md).
        model: A template's name, a template with its choices (`{"template": "mlp", "hidden": [32]}`), a graph of your
            own (docs/formats/model-graph.md), or a model of `privgate.modelling`.
        recipe: Any of `sampling_rate` (or `expected_batch`), `steps`, `clip`, `learning_rate`, `schedule`, `momentum`,
            `weight_decay`, `averaging`, `clipping`, `engine`.
        home: Only the people who were new in the version's home block: those before are not seen, and not charged.
    """
    if (label is None) == (features is None):
        raise InvalidError("give `label`, the column to predict, or `features` in full", field="label")
    optional: dict[str, Any] = {
        "label": label,
        "features": None if features is None else dict(features),
        "model": None if model is None else written_model(model),
        "recipe": None if recipe is None else _recipe(recipe),
        "rows": "home" if home else None,
    }
    return {
        "kind": "training",
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
        **{name: value for name, value in optional.items() if value is not None},
    }


_KIND_BY_MEMBER = {
    "release": "evaluation",
    "family": "glm",
    "queries": "statistics",
    "method": "synthesis",
    "around": "synthesis",
    "search": "tuning",
    "tries": "tuning",
    "score_epsilon": "tuning",
}


def with_kind(request: Mapping[str, Any]) -> dict[str, Any]:
    """A written request with the kind that its members tell, as flags do; a training is what tells nothing else.

    Raises:
        InvalidError: Its members tell no kind.
    """
    if "kind" in request:
        return dict(request)
    told = next((kind for member, kind in _KIND_BY_MEMBER.items() if member in request), None)
    if told is None and not {"label", "features"} & set(request):
        raise InvalidError(
            "say `kind`, or what tells it: `label` or `features` (a training), `family` (glm), `queries` (statistics), "
            "`release` (an evaluation), `search` (a tuning), `method` (a synthetic table)",
            field="kind",
        )
    return {"kind": told or "training", **request}


def written_model(model: str | Mapping[str, Any] | WrittenModel) -> dict[str, Any]:
    """The member `model` of a request."""
    if isinstance(model, str):
        return _layered({"template": _template(model)})
    if isinstance(model, Mapping):
        return {"graph": dict(model)} if "nodes" in model else _layered(dict(model))
    if not isinstance(model, WrittenModel):
        raise InvalidError("`model` must be a template, a graph, or a model of privgate.modelling", field="model")
    return dict(model.to_request())


def _layered(choice: dict[str, Any]) -> dict[str, Any]:
    """A template with its choices; a perceptron says how wide its layers are, which nobody can guess."""
    if choice.get("template") == "mlp" and not choice.get("hidden"):
        raise InvalidError(
            'an `mlp` needs the widths of its hidden layers: `{"template": "mlp", "hidden": [8]}` in a request or a '
            "file, `--model mlp --hidden 8` on the command line",
            field="hidden",
        )
    return choice


def _template(name: str) -> str:
    """The name, unless it is one of a file: the gateway's answer would speak of templates."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending in _PICKLED:
        raise InvalidError(
            f"a .{ending} file may run code when it is read: write the model with `torch.export.save` to a .pt2 file, "
            "or give the module to `privgate.modelling.from_torch` (docs/MODELS.md)",
            field="model",
        )
    if ending in _READERS:
        raise InvalidError(f"read the .{ending} file first: `privgate.modelling.{_READERS[ending]}`", field="model")
    return name


def evaluation_request(
    release: str,
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    confusion: bool | None = None,
    subgroups: Sequence[str] | None = None,
    shares: Mapping[str, Number] | None = None,
    bins: int | None = None,
    least_group: int | None = None,
    error_bound: Number | None = None,
    home: bool = False,
) -> dict[str, Any]:
    """Write a request to evaluate a released model on a dataset's holdout; see docs/formats/job-spec.md.

    Args:
        release: The model.
        dataset: On whose holdout.
        purpose: Why.
        epsilon: Of this job alone, whatever is measured in it.
        confusion: Also precision, recall, specificity and F1 of each class, from a confusion matrix.
        subgroups: Categorical, ordinal or boolean columns by whose categories figures and gaps are wanted.
        shares: What part of the privacy each measure gets: `outcomes` or `confusion`, `scores`, `subgroups`; of a model
            of a number `errors`, `subgroups`. They add up to 1.
        bins: Cells of the histogram of scores.
        least_group: Groups whose noisy count lies below are not shown.
        error_bound: Of a number: the part of the label's range that an error counts at most.
        home: Only the people who were new in the version's home block.
    """
    body: dict[str, Any] = {
        "v": 1,
        "kind": "evaluation",
        "release": release,
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
    }
    optional: dict[str, Any] = {
        "confusion": confusion,
        "subgroups": None if subgroups is None else list(subgroups),
        "shares": None if shares is None else {part: decimal_text(share, "shares") for part, share in shares.items()},
        "bins": bins,
        "least_group": least_group,
        "error_bound": None if error_bound is None else decimal_text(error_bound, "error_bound"),
        "rows": "home" if home else None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def statistics_request(
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    queries: Sequence[Mapping[str, Any]],
    block: str | None = None,
    home: bool = False,
) -> dict[str, Any]:
    """Write a request for statistics; the queries are those of `privgate.statistics`, or written by hand.

    With `home` only the people who were new in the version's home block are asked about.
    """
    body: dict[str, Any] = {
        "v": 1,
        "kind": "statistics",
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
        "queries": [dict(query) for query in queries],
    }
    optional: dict[str, Any] = {"block": block, "rows": "home" if home else None}
    return body | {name: value for name, value in optional.items() if value is not None}


def synthesis_request(
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    columns: Sequence[str] | None = None,
    bins: int | None = None,
    edges: Mapping[str, Sequence[Number]] | None = None,
    around: str | None = None,
    per: str | None = None,
    block: str | None = None,
    method: str | None = None,
    home: bool = False,
) -> dict[str, Any]:
    """Write a request for the counts that a synthetic table is drawn from; see docs/formats/job-spec.md.

    Args:
        dataset: Its id.
        purpose: Why.
        epsilon: Of this job alone; rows drawn from the result cost nothing more.
        columns: Of the table; all that can be counted by default.
        bins: Into how many cells of one width a numeric column is cut, where `edges` does not say.
        edges: For a numeric column the numbers between its cells.
        around: The column to predict, say: every pair of the others is counted for each cell of it.
        per: `row` by default, or `unit`: the first row alone of everybody who is protected.
        block: `train` by default, or `holdout`.
        method: `mst`, the only one there is.
        home: Only the people who were new in the version's home block.
    """
    body: dict[str, Any] = {
        "v": 1,
        "kind": "synthesis",
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
    }
    cut = None if edges is None else {name: [decimal_text(e, "edges") for e in cuts] for name, cuts in edges.items()}
    optional: dict[str, Any] = {
        "columns": _with_around(columns, around),
        "bins": bins,
        "edges": cut,
        "around": around,
        "per": per,
        "block": block,
        "method": method,
        "rows": "home" if home else None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def glm_request(
    dataset: str,
    *,
    purpose: str,
    epsilon: Number,
    family: str,
    outcome: str | Mapping[str, Any],
    predictors: Sequence[str | Mapping[str, Any]],
    counted: str | None = None,
    home: bool = False,
) -> dict[str, Any]:
    """Write a request for a generalised linear model with standard errors; see docs/formats/job-spec.md.

    Args:
        dataset: Its id.
        purpose: Why.
        epsilon: Of this job alone.
        family: `linear`, `logistic` or `poisson`; or `hazard`, a logistic model of persons' periods.
        outcome: A column, or a label in full (docs/formats/features.md).
        predictors: Columns, or transforms in full: `{"column": "income", "transform": "log"}`.
        counted: `unit` by default: every person counts once, however many rows there are; or `row`.
        home: Only the people who were new in the version's home block.
    """
    body: dict[str, Any] = {
        "v": 1,
        "kind": "glm",
        "dataset": dataset,
        "purpose": purpose,
        "epsilon": decimal_text(epsilon, "epsilon"),
        "family": family,
        "outcome": outcome if isinstance(outcome, str) else dict(outcome),
        "predictors": [one if isinstance(one, str) else dict(one) for one in _listed(predictors)],
    }
    optional: dict[str, Any] = {"counted": counted, "rows": "home" if home else None}
    return body | {name: value for name, value in optional.items() if value is not None}


def _with_around(columns: Sequence[str] | None, around: str | None) -> list[str] | None:
    """The columns of a table, which the one to predict is always among."""
    if columns is None:
        return None
    named = [columns] if isinstance(columns, str) else list(columns)
    return named if around is None or around in named else [*named, around]


def _listed(predictors: Sequence[str | Mapping[str, Any]]) -> Sequence[str | Mapping[str, Any]]:
    if isinstance(predictors, str):
        raise InvalidError("`predictors` is a list of columns", field="predictors")
    return predictors


def _recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decimal_text(value, name) if name in DECIMALS else value for name, value in recipe.items()}
