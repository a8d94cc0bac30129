"""`quote`, and how a job is written: as a file, or with flags.

Rules
-----
1. The flags of a request stand here once, as the parameters of `written_request`; a command that takes them says
   `@from_flags`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, gateway
from privgate.cli.requesting import show_quote
from privgate.cli.screen import show

Spec = Annotated[
    Path | None, typer.Option("--spec", "-f", help="The request as JSON or YAML (docs/formats/job-spec.md).")
]
Dataset = Annotated[str | None, typer.Option(help="dst_...")]
Purpose = Annotated[str | None, typer.Option(help="Why; a grant must cover it.")]
Epsilon = Annotated[str | None, typer.Option(help="Of this job alone.")]
Home = Annotated[
    bool, typer.Option("--home", help="Only people who were new in the version's home block; only they are charged.")
]
Label = Annotated[str | None, typer.Option(help="The column to predict (training).")]
Model = Annotated[
    str | None, typer.Option(help="A template, or a file: a model or graph (.json, .yaml), .pt2, .onnx (training).")
]
Hidden = Annotated[
    list[int] | None,
    typer.Option(help="Of a template with layers (mlp, cnn): the width of a hidden layer, may be repeated (training)."),
]
Recipe = Annotated[list[str] | None, typer.Option(help="name=value, may be repeated: --recipe steps=200 (training).")]
Search = Annotated[
    list[str] | None,
    typer.Option(help="Tune: --search clip=0.3,1 or --search learning_rate=0.1..10:5, may be repeated."),
]
Tries = Annotated[int | None, typer.Option(min=1, help="Tune: the most tries there may be.")]
ScoreEpsilon = Annotated[
    str | None, typer.Option(help="Tune: what the scores that choose between tries cost people held out.")
]
Family = Annotated[str | None, typer.Option(help="GLM: linear, logistic, poisson or hazard, with standard errors.")]
Outcome = Annotated[str | None, typer.Option(help="GLM: the column to explain.")]
Predictor = Annotated[list[str] | None, typer.Option(help="GLM: a column that explains it, may be repeated.")]
ReleaseOption = Annotated[str | None, typer.Option("--release", help="rel_... to evaluate on the dataset's holdout.")]


def attach(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(quote)


def written_request(
    spec: Spec = None,
    dataset: Dataset = None,
    purpose: Purpose = None,
    epsilon: Epsilon = None,
    home: Home = False,
    label: Label = None,
    model: Model = None,
    hidden: Hidden = None,
    recipe: Recipe = None,
    release: ReleaseOption = None,
    search: Search = None,
    tries: Tries = None,
    score_epsilon: ScoreEpsilon = None,
    family: Family = None,
    outcome: Outcome = None,
    predictor: Predictor = None,
) -> dict[str, Any]:
    """The request of a file, or of flags; what flags say replaces what the file says."""
    from kernel.errors import InvalidError
    from privgate.sdk.requests import evaluation_request, glm_request, training_request
    from privgate.sdk.tuning import tuning_request

    common = {"dataset": dataset, "purpose": purpose, "epsilon": epsilon}
    if spec is not None:
        if any((label, model, hidden, recipe, release, search, tries, score_epsilon, family, outcome, predictor)):
            raise InvalidError("beside --spec only --dataset, --purpose, --epsilon and --home are taken", field="spec")
        said = {name: value for name, value in common.items() if value is not None}
        return read_request(spec) | said | ({"rows": "home"} if home else {})
    missing = [f"--{name}" for name, value in common.items() if value is None]
    if dataset is None or purpose is None or epsilon is None:
        raise InvalidError(f"give --spec FILE, or also {', '.join(missing)}", field=missing[0].lstrip("-"))
    always: dict[str, Any] = {"purpose": purpose, "epsilon": epsilon, "home": home}
    if release is not None:
        return evaluation_request(release, dataset, **always)
    if family is not None:
        return glm_request(dataset, family=family, outcome=outcome or "", predictors=predictor or [], **always)
    training = always | {"label": label, "model": _model(model, hidden), "recipe": _recipe(recipe or []) or None}
    if search or tries is not None or score_epsilon is not None:
        searched = _search(search) if search else None
        return tuning_request(dataset, search=searched, tries=tries, score_epsilon=score_epsilon, **training)
    return training_request(dataset, **training)


def from_flags(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first argument, `request`, is what the flags of `written_request` say."""
    flags = inspect.signature(written_request, eval_str=True).parameters
    own = [each for name, each in inspect.signature(command, eval_str=True).parameters.items() if name != "request"]

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        command(request=written_request(**{name: given.pop(name) for name in flags}), **given)

    # This is what Typer makes the options of; keyword-only, so that their order is free.
    taken = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*flags.values(), *own)]
    asked.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]  # functions may have one: PEP 362
    return asked


@from_flags
def quote(request: dict[str, Any], profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """What a job would cost, whether it fits, and the largest of its shape that would. Nothing is held."""
    from privgate.sdk.collections import of_a_model, of_sites

    with gateway(profile) as connected:
        if of_sites(request):
            show(connected.quote_sites(request), machine=machine)
        elif of_a_model(request):
            asked = {name: request[name] for name in ("purpose", "batches") if name in request}
            show(connected.quote_inference(request.get("release", ""), **asked), machine=machine)
        else:
            show_quote(connected, request, machine=machine)


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


def _model(written: str | None, hidden: list[int] | None) -> str | dict[str, Any] | None:
    """A template's name, or what a file says: a model as requests have it, a bare graph, or another library's model."""
    if hidden:
        from kernel.errors import InvalidError

        if written is None or Path(written).suffix:
            raise InvalidError("`--hidden` goes with a template, such as --model mlp", field="hidden")
        return {"template": written, "hidden": hidden}
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
    from privgate.sdk.requests import DECIMALS, with_kind

    body = {name: value if name == "model" else _cuts(value, name) for name, value in read_document(path).items()}
    recipe = body.get("recipe")
    if isinstance(recipe, dict):
        body["recipe"] = _decimal(recipe, DECIMALS)
    if isinstance(body.get("shares"), dict):
        body["shares"] = _decimal(body["shares"], body["shares"])
    return with_kind(_decimal(body, {"epsilon", "error_bound", "score_epsilon"}))


def _cuts(value: Any, name: str) -> Any:
    """A member in which whole numbers under `edges`, `low` and `high` are the amounts that they mean."""
    if isinstance(value, dict):
        inside = name == "edges"
        return {inner: _cuts(item, name if inside else inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_cuts(item, name) for item in value]
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole and name in ("edges", "low", "high") else value


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
