"""Rehearsals: a request tried out before it is made, on this machine, at no cost.

Rules
-----
1. Nothing is asked for: of the gateway only the dataset's card is read. What a rehearsal refuses, the gateway refuses
   in the same words; whether a grant and the budget allow the job is `quote`'s to say.
2. What it shows says how it came about: dummy rows teach nothing, a shortened run is no run, noise is always real.
3. Its model stands in the same form as a released one, and can be proven to be nothing: no certificate, no receipt, and
   no file under a release's name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from kernel.bodies import LARGE_LIMIT, read_body
from kernel.canonical import LARGEST_INTEGER
from kernel.checks import whole
from kernel.errors import ConflictError, InvalidError
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.head import sees_home_alone
from privacy.jobs.labels import Target
from privacy.jobs.opening import Opening
from privacy.jobs.plan import TrainingPlan, plan_training
from privacy.jobs.quote import QuotedModel
from privacy.jobs.spec import JobKind, TrainingSpec, complete_training
from privgate.encoding import rows_of
from privgate.sdk.jobs import model_lines
from privgate.sdk.view import View

if TYPE_CHECKING:
    from privacy.schema import TableSchema
    from privgate.models import Model
    from privgate.sdk.datasets import Dataset

COSTS_NOTHING: Final = "nothing was asked for, held or spent, and no row of the owner was read"
NO_RELEASE: Final = "a rehearsal: no certificate, no receipt, no release"
_DUMMY: Final = "dummy rows, made up from the declaration: the model has learnt nothing, its predictions mean nothing"
_NOISE: Final = "real, as it will be"

Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = "Iterable[Row] | str | Path | Any"
Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class RehearsedRelease:
    """What stands in a release's place after a rehearsal: a model, and nothing that could be believed."""

    rehearsed: Model
    told: Mapping[str, Any] = field(repr=False)

    def scorer(self) -> Model:
        """The rehearsed model, ready to score rows as a released one is."""
        return self.rehearsed

    def model(self) -> Any:
        """The rehearsed model as a `torch.nn.Module` on encoded rows."""
        return self.rehearsed.to_torch()

    def predict(self, rows: Rows, *, threshold: float = 0.5) -> list[Any]:
        """The prediction for each raw row of a list, a data frame or a file; see `Model.predict`."""
        return self.rehearsed.predict(own_rows(rows), threshold=threshold)

    def write(self, directory: str | Path) -> list[Path]:
        """Write `rehearsal.json` and `rehearsal.safetensors` to a directory; raise `ConflictError` if one is there."""
        from privgate.rehearsing.training import labelled

        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        said = json.dumps(dict(self.told), indent=2).encode("utf-8")
        files = {"rehearsal.json": said, "rehearsal.safetensors": labelled(self.rehearsed)}
        for name in files:
            if (folder / name).exists():
                raise ConflictError(f"`{folder / name}` is there already: choose another directory", field="directory")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return [folder / name for name in files]

    def __repr__(self) -> str:
        return f"RehearsedRelease({NO_RELEASE}; {self.rehearsed!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal(View):
    """A training that was tried out: shapes, duration, memory and, on own rows, how good the model is.

    Attributes:
        rows: `dummy` or `own`.
        units, units_declared: How many units there were, and as how many they were met.
        numbers_per_row, outputs: What a row becomes, and how many numbers the model gives for it.
        model: Digest and size of the graph, engine and kind of clipping, as a quote has them.
        expected_batch: Units in a step by declaration, which the noisy sum is divided by.
        units_at_once, micro_batches: How a step is cut: it has this shape whatever the rows are.
        steps, steps_run: The plan's, and those that were run.
        seconds_per_step, seconds: Measured here in one thread; the whole run of the plan, estimated from that.
        memory_bytes: The most that this process has had in memory, with everything else in it.
        rows_bytes: What rows of the declared size take of that in a job.
        failed_checks: Checks of the self-test that did not pass: none, if all is well.
        quality: On rows that were kept back: accuracy and AUC, or the mean error; and what guessing gives. Only of own
            rows.
        request: The request in its final form; `plan` are the numbers of the run.
        release: The model, in the form of a release, and none.
    """

    NOUN: ClassVar[str] = "rehearsal"
    rows: str
    units: int
    units_declared: int
    numbers_per_row: int
    outputs: int
    model: Mapping[str, Any]
    epsilon: str
    delta: str
    noise_multiplier: str
    expected_batch: str
    units_at_once: int
    micro_batches: int
    steps: int
    steps_run: int
    seconds_per_step: float
    seconds: float
    memory_bytes: int | None
    rows_bytes: int
    savepoint_bytes: int
    failed_checks: tuple[str, ...]
    quality: Mapping[str, float] | None
    request_digest: str
    plan_digest: str
    units_named: bool = True
    request: Mapping[str, Any] = field(repr=False)
    plan: Mapping[str, Any] = field(repr=False)
    release: RehearsedRelease = field(repr=False, compare=False)

    def lines(self) -> list[tuple[str, object]]:
        """The rehearsal as one would say it."""
        return [
            ("this was a rehearsal", COSTS_NOTHING),
            ("rows", self._rows_in_words()),
            ("noise", f"{_NOISE}: multiplier {self.noise_multiplier[:8]} for epsilon {self.epsilon} of this job alone"),
            ("a row becomes", f"{_counted(self.numbers_per_row, 'number')}, of which the model makes {self.outputs}"),
            *model_lines(self.model),
            ("a step", f"about {self.expected_batch} units, in {self._cut_in_words()}"),
            ("steps", f"{self.steps}" if self.whole_run else f"{self.steps_run} of {self.steps} were run"),
            ("a step takes", f"{_short(self.seconds_per_step)} on this machine, in one thread"),
            ("the whole run takes", f"about {_short(self.seconds)}, on a machine like this"),
            ("memory", self._memory_in_words()),
            ("self-test", f"failed: {', '.join(self.failed_checks)}" if self.failed_checks else "passed"),
            *self._quality_lines(),
            ("request", self.request_digest),
            ("plan", self.plan_digest),
            ("grant and budget", "were not asked about: `quote` does that"),
        ]

    @property
    def whole_run(self) -> bool:
        """Whether every step of the plan was run."""
        return self.steps_run == self.steps

    def _rows_in_words(self) -> str:
        if self.rows == "dummy":
            return _DUMMY
        again = f", met again and again as the {self.units_declared} that are declared"
        said = f"own: {_counted(self.units, 'unit')}{again if self.units < self.units_declared else ''}"
        return said if self.units_named else f"{said}; no column tells the units, so each row stands for one"

    def _cut_in_words(self) -> str:
        most = f"of {self.units_at_once} places"
        return f"one micro-batch {most}" if self.micro_batches == 1 else f"{self.micro_batches} micro-batches {most}"

    def _memory_in_words(self) -> str:
        rows = f"{_bytes(self.rows_bytes)} for rows of the declared size"
        return rows if self.memory_bytes is None else f"{_bytes(self.memory_bytes)} at most in this process; {rows}"

    def _quality_lines(self) -> list[tuple[str, object]]:
        if self.quality is None:
            return []
        said = ", ".join(f"{name} {_figure(value)}" for name, value in self.quality.items())
        cut: list[tuple[str, object]] = [] if self.whole_run else [("which says little", "the run was cut short")]
        return [("own rows that were kept back", said), *cut]


@dataclass(frozen=True, slots=True)
class Planned:
    """A request in its final form, its plan, and what is declared of the people that it is about."""

    spec: TrainingSpec
    plan: TrainingPlan
    facts: DeclaredFacts


def planned(dataset: Dataset, request: Mapping[str, Any]) -> Planned:
    """What the gateway would make of a request.

    Raises:
        InvalidError, TooLargeError: What the gateway would say.
    """
    written = json.dumps({"spec": dict(request)}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = read_body(written.encode("utf-8"), LARGE_LIMIT)["spec"]
    if Opening.of(body).kind is not JobKind.TRAINING:
        raise InvalidError("only a training is rehearsed: `quote` says whether this request is in order", field="kind")
    facts = dataset.facts(home_alone=sees_home_alone(body))
    spec = complete_training(body, dataset.schema, facts)
    return Planned(spec, plan_training(spec, dataset.schema, facts), facts)


def rehearse(
    dataset: Dataset,
    request: Mapping[str, Any],
    *,
    rows: Rows | None = None,
    test: Rows | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Rehearsal:
    """Try a written request out.

    Args:
        dataset: Its card.
        request: As it would be submitted.
        rows: Own rows, which must have the columns that the model reads: a list, a data frame, or a file. Dummy rows
            if absent.
        test: Own rows to judge the model on; by default a fifth of the units of `rows` is kept back.
        steps: Run only so many.
        seed: Of dummy rows.
        on_progress: Called with the steps done and the steps to do, before each tenth.

    Raises:
        InvalidError, TooLargeError: The gateway would refuse the request, or rows break the declaration.
        ExtraMissingError: Nothing can be run without the extra `train`; the request itself is in order.
    """
    of = planned(dataset, request)
    most = of.plan.recipe.steps
    wanted = most if steps is None else min(whole(1, LARGEST_INTEGER, steps=steps), most)
    try:
        from privgate.rehearsing.training import try_training
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError("the request is in order, but running it", "train") from None
    tried = try_training(
        of.spec,
        of.plan,
        dataset.schema,
        dataset.privacy_unit,
        of.facts,
        rows=None if rows is None else own_rows(rows),
        test=None if test is None else own_rows(test),
        steps=wanted,
        seed=seed,
        on_progress=on_progress,
    )
    return _told(of, dataset.schema, tried, own=rows is not None)


def own_rows(rows: Rows) -> Sequence[Row]:
    """Rows from a list, a data frame or a file of their own."""
    if isinstance(rows, (str, Path)):
        from privgate.rowfiles import read_rows

        return read_rows(Path(rows))
    return list(rows_of(rows))


def _told(of: Planned, schema: TableSchema, tried: Any, *, own: bool) -> Rehearsal:
    spec, plan, ran = of.spec, of.plan, tried.ran
    width, rows = spec.features.width(schema), math.ceil(of.facts.training_units) * plan.rows_per_unit
    seconds = ran.seconds_before + rows * tried.seconds_per_row + plan.recipe.steps * ran.seconds_per_step
    told: dict[str, Any] = {
        "rows": "own" if own else "dummy",
        "units": tried.units,
        "units_declared": tried.units_declared,
        "units_named": tried.units_named,
        "numbers_per_row": width,
        "outputs": spec.features.outputs(schema),
        "model": QuotedModel.of(plan).to_fields(),  # type: ignore[union-attr]
        "epsilon": str(plan.epsilon),
        "delta": str(plan.delta),
        "noise_multiplier": str(plan.noise_multiplier),
        "expected_batch": str(plan.normaliser),
        "units_at_once": ran.units_at_once,
        "micro_batches": ran.micro_batches,
        "steps": plan.recipe.steps,
        "steps_run": ran.steps,
        "seconds_per_step": _rounded(ran.seconds_per_step),
        "seconds": _rounded(seconds),
        "memory_bytes": tried.memory_bytes,
        "rows_bytes": 4 * rows * width,
        "savepoint_bytes": ran.savepoint_bytes,
        "failed_checks": ran.failed_checks,
        "quality": quality(tried.model, tried.kept_back),
        "request_digest": str(spec.digest),
        "plan_digest": str(plan.digest),
    }
    written = {"v": 1, "what": NO_RELEASE, **told, "request": spec.to_json(), "plan": plan.to_fields()}
    release = RehearsedRelease(tried.model, written)
    return Rehearsal(**told, request=spec.to_json(), plan=plan.to_fields(), release=release)


def quality(model: Model, rows: Sequence[Row]) -> dict[str, float] | None:
    """How good a model is on labelled rows, beside what guessing gives; nothing without such rows."""
    targets = [target for target in model.targets(rows) if target is not None]
    if not targets:
        return None
    if model.spec.features.label.target is Target.REAL:
        pairs = [(s, t) for s, t in zip(model.scores(rows), model.targets(rows), strict=True) if None not in (s, t)]
        half, middle = _half_of_scale(model), sorted(targets)[len(targets) // 2]
        errors = [abs(score - target) for score, target in pairs]  # type: ignore[operator]
        guessed = half * math.fsum(abs(target - middle) for target in targets) / len(targets)
        return {"rows": len(targets), "mean error": half * math.fsum(errors) / max(1, len(errors)), "guessing": guessed}
    commonest = max(map(targets.count, set(targets))) / len(targets)
    several = len(set(targets)) > 1
    found = model.evaluate(rows) if several or model.classes else {"rows": len(targets)}
    return {**{name: value for name, value in found.items() if name != "scored"}, "guessing": commonest}


def _half_of_scale(model: Model) -> float:
    """What 1 on the scaled target is in the column's own unit."""
    label = model.spec.features.label
    column = model.schema.column(label.column)
    low, high = label.low or column.low, label.high or column.high
    return float(high.number - low.number) / 2 if low is not None and high is not None else 1.0


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.3g}")


def _short(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _bytes(count: int) -> str:
    return f"{count / 2**20:.3g} MiB"


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
