"""`quote`, and how a job is written: as a file, or with flags."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, gateway
from privgate.cli.screen import show

Spec = Annotated[
    Path | None, typer.Option("--spec", "-f", help="The request as JSON or YAML (docs/formats/job-spec.md).")
]
Dataset = Annotated[str | None, typer.Option(help="dst_...")]
Purpose = Annotated[str | None, typer.Option(help="Why; a grant must cover it.")]
Epsilon = Annotated[str | None, typer.Option(help="Of this job alone.")]
Label = Annotated[str | None, typer.Option(help="The column to predict (training).")]
Model = Annotated[
    str | None, typer.Option(help="A template, or a file: a model or graph (.json, .yaml), .pt2, .onnx (training).")
]
Recipe = Annotated[list[str] | None, typer.Option(help="name=value, may be repeated: --recipe steps=200 (training).")]
Search = Annotated[
    list[str] | None,
    typer.Option(help="Tune: --search clip=0.3,1 or --search learning_rate=0.1..10:5, may be repeated."),
]
Tries = Annotated[int | None, typer.Option(min=1, help="Tune: the most tries there may be.")]
Family = Annotated[str | None, typer.Option(help="GLM: linear, logistic or poisson, with standard errors.")]
Outcome = Annotated[str | None, typer.Option(help="GLM: the column to explain.")]
Predictor = Annotated[list[str] | None, typer.Option(help="GLM: a column that explains it, may be repeated.")]
ReleaseOption = Annotated[str | None, typer.Option("--release", help="rel_... to evaluate on the dataset's holdout.")]


def attach(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(quote)


def quote(
    spec: Spec = None,
    dataset: Dataset = None,
    purpose: Purpose = None,
    epsilon: Epsilon = None,
    label: Label = None,
    model: Model = None,
    recipe: Recipe = None,
    release: ReleaseOption = None,
    search: Search = None,
    tries: Tries = None,
    family: Family = None,
    outcome: Outcome = None,
    predictor: Predictor = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """What a job would cost, whether it fits, and the largest of its shape that would. Nothing is held."""
    request = written_request(
        spec, dataset, purpose, epsilon, label=label, model=model, recipe=recipe, release=release, search=search,
        tries=tries, family=family, outcome=outcome, predictor=predictor,
    )  # fmt: skip
    with gateway(profile) as connected:
        quoted = connected.quote_request(request)
        show(quoted, machine=machine)


def written_request(
    spec: Path | None, dataset: str | None, purpose: str | None, epsilon: str | None, **choices: Any
) -> dict[str, Any]:
    """The request of a file, or of flags; what flags say replaces what the file says."""
    from kernel.errors import InvalidError
    from privgate.sdk.requests import evaluation_request, glm_request, training_request
    from privgate.sdk.tuning import tuning_request

    common = {"dataset": dataset, "purpose": purpose, "epsilon": epsilon}
    if spec is not None:
        if any(value for value in choices.values()):
            raise InvalidError("beside --spec only --dataset, --purpose and --epsilon are taken", field="spec")
        return read_request(spec) | {name: value for name, value in common.items() if value is not None}
    missing = [f"--{name}" for name, value in common.items() if value is None]
    if dataset is None or purpose is None or epsilon is None:
        raise InvalidError(f"give --spec FILE, or also {', '.join(missing)}", field=missing[0].lstrip("-"))
    if choices.get("release") is not None:
        return evaluation_request(choices["release"], dataset, purpose=purpose, epsilon=epsilon)
    if choices.get("family") is not None:
        explained: dict[str, Any] = {"outcome": choices["outcome"] or "", "predictors": choices["predictor"] or []}
        return glm_request(dataset, purpose=purpose, epsilon=epsilon, family=choices["family"], **explained)
    training = {
        "purpose": purpose,
        "epsilon": epsilon,
        "label": choices["label"],
        "model": _model(choices["model"]),
        "recipe": _recipe(choices["recipe"] or []) or None,
    }
    search, tries = choices.get("search"), choices.get("tries")
    if search or tries is not None:
        return tuning_request(dataset, search=_search(search) if search else None, tries=tries, **training)
    return training_request(dataset, **training)


def _search(pairs: list[str]) -> dict[str, Any]:
    """Values after commas, or a range `low..high:values`."""
    from kernel.errors import InvalidError

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, written = pair.partition("=")
        low, dots, rest = written.partition("..")
        high, _, count = rest.partition(":")
        if not equals or not written or (dots and not (count.isascii() and count.isdigit())):
            raise InvalidError("write `--search name=value,value` or `--search name=low..high:values`", field="search")
        found[name] = {"low": low, "high": high, "values": int(count)} if dots else written.split(",")
    return found


def _model(written: str | None) -> str | dict[str, Any] | None:
    """A template's name, or what a file says: a model as requests have it, a bare graph, or another library's model."""
    if written is None:
        return None
    match Path(written).suffix.lower():
        case ".json" | ".yaml" | ".yml":
            from privgate.cli.documents import read_document

            return read_document(Path(written))
        case ".pt2":
            from privgate import modelling

            return modelling.from_pt2(written).to_request()
        case ".onnx":
            from privgate import modelling

            return modelling.from_onnx(written).to_request()
        case _:
            return written


def read_request(path: Path) -> dict[str, Any]:
    """Read JSON or YAML; numbers become the decimal text that they are written as, except where they count."""
    from privgate.cli.documents import read_document
    from privgate.sdk.requests import DECIMALS

    body = read_document(path)
    recipe = body.get("recipe")
    if isinstance(recipe, dict):
        body["recipe"] = _decimal(recipe, DECIMALS)
    if isinstance(body.get("shares"), dict):
        body["shares"] = _decimal(body["shares"], body["shares"])
    return _decimal(body, {"epsilon", "error_bound", "score_epsilon"})


def _decimal(members: dict[str, Any], decimals: Collection[str]) -> dict[str, Any]:
    whole = {n for n, v in members.items() if n in decimals and isinstance(v, int) and not isinstance(v, bool)}
    return {name: str(value) if name in whole else value for name, value in members.items()}


def _recipe(pairs: list[str]) -> dict[str, Any]:
    from kernel.errors import InvalidError

    recipe: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidError("write `--recipe name=value`", field="recipe")
        count = name in ("steps", "expected_batch") and value.isascii() and value.isdigit()
        recipe[name] = int(value) if count else value
    return recipe
