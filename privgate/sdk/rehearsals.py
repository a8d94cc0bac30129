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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from kernel.errors import ConflictError
from privgate.encoding import rows_of
from privgate.sdk.jobs import model_lines
from privgate.sdk.view import View

if TYPE_CHECKING:
    from privgate.models import Model

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

        return written(directory, {"rehearsal.json": self.told, "rehearsal.safetensors": labelled(self.rehearsed)})

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

    def write(self, directory: str | Path) -> list[Path]:
        """Write what was found and the model to a directory; see `RehearsedRelease.write`."""
        return self.release.write(directory)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRehearsal(View):
    """A job of another kind that was tried out: its own child on sealed rows, and what would be released.

    Attributes:
        kind: Of job.
        rows: `dummy` or `own`.
        units, units_met: How many units there were, and under how many names they were met.
        seconds: What the child took, here in one thread.
        found: The result in the form of a released one: `privgate.statistics.Statistics`, `privgate.glm.GlmTable`,
            `privgate.synthetic.SyntheticTable`, an evaluation's figures, or of a tuning a `RehearsedRelease`.
        artifact: Its bytes; no certificate belongs to them.
        request: The request in its final form; `plan` are the numbers of the run.
    """

    NOUN: ClassVar[str] = "rehearsal"
    kind: str
    rows: str
    units: int
    units_met: int
    epsilon: str
    delta: str
    noise_multiplier: str
    seconds: float
    memory_bytes: int | None
    failed_checks: tuple[str, ...]
    request_digest: str
    plan_digest: str
    found: Any = field(repr=False, compare=False)
    artifact: bytes = field(repr=False)
    request: Mapping[str, Any] = field(repr=False)
    plan: Mapping[str, Any] = field(repr=False)

    def lines(self) -> list[tuple[str, object]]:
        """The rehearsal as one would say it."""
        again = f", met as {self.units_met}" if self.units_met > self.units else ""
        own = f"own: {_counted(self.units, 'unit')}{again}"
        return [
            ("this was a rehearsal", COSTS_NOTHING),
            ("kind", self.kind),
            (
                "rows",
                own if self.rows == "own" else "dummy rows, made up from the declaration: the answers mean nothing",
            ),
            ("noise", f"{_NOISE}: multiplier {self.noise_multiplier[:8]} for epsilon {self.epsilon} of this job alone"),
            ("it took", f"{_short(self.seconds)} on this machine, in one thread"),
            ("self-test", f"failed: {', '.join(self.failed_checks)}" if self.failed_checks else "passed, or none"),
            ("request", self.request_digest),
            ("plan", self.plan_digest),
            ("grant and budget", "were not asked about: `quote` does that"),
        ]

    def to_json(self) -> dict[str, Any]:
        """The members as JSON, with the result, unless that is a model."""
        told = super(JobRehearsal, self).to_json()
        return told if isinstance(self.found, RehearsedRelease) else told | {"result": json.loads(self.artifact)}

    def write(self, directory: str | Path) -> list[Path]:
        """Write `rehearsal.json` to a directory: what was found; never over another file."""
        told = {"v": 1, "what": NO_RELEASE, **self.to_json(), "request": self.request, "plan": self.plan}
        if isinstance(self.found, RehearsedRelease):
            return RehearsedRelease(self.found.rehearsed, told).write(directory)
        return written(directory, {"rehearsal.json": told})


def written(directory: str | Path, files: Mapping[str, Mapping[str, Any] | bytes]) -> list[Path]:
    """Write files to a directory; raise `ConflictError` if one of them is there."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (folder / name).exists():
            raise ConflictError(f"`{folder / name}` is there already: choose another directory", field="directory")
    for name, said in files.items():
        content = said if isinstance(said, bytes) else json.dumps(dict(said), indent=2).encode("utf-8")
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def own_rows(rows: Rows) -> Sequence[Row]:
    """Rows from a list, a data frame or a file of their own."""
    if isinstance(rows, (str, Path)):
        from privgate.rowfiles import read_rows

        return read_rows(Path(rows))
    return list(rows_of(rows))


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
