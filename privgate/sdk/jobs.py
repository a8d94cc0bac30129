"""Quotes and jobs: what one would cost, where it stands, and waiting for its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kernel.errors import CorruptError
from privgate.sdk import prospects
from privgate.sdk.errors import JobEndedError
from privgate.sdk.view import View

if TYPE_CHECKING:
    from privgate.sdk.gateway import Gateway
    from privgate.sdk.releases import Release

ENDED = frozenset({"finished", "failed", "cancelled", "refused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote(View):
    """What a job would cost its population. Nothing is held by asking.

    Attributes:
        epsilon, delta: Of this job alone.
        unit: What to call one of those who are protected.
        odds: How often in 100 an attacker who knows everything else is right about one of them at most (`in_odds`).
        budget_odds: The same for everything that ever leaves, once all of the budget is spent.
        feasibility: `likely`, `doubtful` or `hopeless`, from declared sizes; none for kinds of jobs without a rule.
        steps: How often noise is added.
        budget_share: The charge over the whole budget.
        fits: Whether it can be reserved now.
        largest_epsilon: The largest job of this very shape that would; none if no such job does.
        further: How many jobs like this one would fit.
        model: What would be trained: digest and size of its graph, engine and kind of clipping.
        selection: Of a tuning: how many candidates and tries, what each way of pricing them gives, and what scoring
            costs people held out.
        request: The request in its final form; `request_digest` is what an approval would bind.
        granted: The largest epsilon of one job that the trainer's grant allows, where that was looked up.
    """

    NOUN: ClassVar[str] = "quote"
    gateway: Gateway = field(repr=False, compare=False)
    epsilon: str
    delta: str
    order: int
    unit: str
    odds: int
    budget_odds: int | None = None
    feasibility: str | None = None
    noise_multiplier: str
    steps: int
    block: str
    charge: str
    hold: str
    capacity: str
    available: str
    budget_share: str
    fits: bool
    further: int
    largest_epsilon: str | None = None
    model: Mapping[str, Any] | None = None
    selection: Mapping[str, Any] | None = None
    request: Mapping[str, Any] = field(repr=False)
    request_digest: str
    granted: str | None = None

    @classmethod
    def read(cls, body: Any, **bound: Any) -> Self:
        """Make a quote from the gateway's answer, which holds figures, request and digest."""
        if not isinstance(body, Mapping) or not isinstance(body.get("quote"), Mapping):
            raise CorruptError("the gateway's answer is no quote")
        outer = {"request": body.get("spec"), "request_digest": body.get("request_digest")}
        return super(Quote, cls).read({**body["quote"], **outer}, **bound)

    def lines(self) -> list[tuple[str, object]]:
        """The quote as one would say it."""
        return [
            ("this job alone", f"epsilon {self.epsilon} at delta {self.delta} (stated at order {self.order})"),
            ("in odds", self.in_odds),
            ("once the budget is spent", _whole_odds(self.budget_odds)),
            ("will it succeed", self.prospect),
            ("share of the budget", f"{(Decimal(self.budget_share) * 100).normalize():f} %"),
            ("fits", "yes" if self.fits else "no"),
            ("largest such job that fits", _largest(self.largest_epsilon, self.granted)),
            ("jobs like this that fit", self.further),
            (
                "noise, steps",
                f"{self.noise_multiplier[:8]} times the limit on one {self.unit}, {_times(self.steps)}",
            ),
            ("charge, hold, available", f"{self.charge}, {self.hold}, {self.available} (the ledger's unit)"),
            ("whose rows", self.block),
            *model_lines(self.model),
            *_selection_lines(self.selection),
            ("request", self.request_digest),
        ]

    @property
    def in_odds(self) -> str:
        """What the job's epsilon means, in words."""
        from privacy.accounting.odds import sentence

        return sentence(self.unit, self.odds)

    @property
    def kind(self) -> str:
        """Of job."""
        return str(self.request.get("kind", ""))

    @property
    def prospect(self) -> str:
        """Whether it can succeed, in words: what noise does to such a job, and what would help."""
        return prospects.prospect(self.kind, self.feasibility, fits=self.fits, selection=self.selection)

    @property
    def suffering(self) -> str:
        """What noise will do to a job that is not likely to succeed, and what helps."""
        return prospects.suffering(self.kind, self.feasibility or "", self.selection)

    def within(self, cap: str | None) -> Self:
        """The quote beside the largest epsilon of one job that a grant allows."""
        return replace(self, granted=cap)

    def submit(self, *, key: str | None = None) -> Job:
        """Request this very job."""
        return self.gateway.submit(self.request, key=key)


def _selection_lines(selection: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    """What a tuning would do and cost, in words."""
    if selection is None:
        return []
    s = {name: selection.get(name, "beyond every budget") for name in ("composed", "selected")} | dict(selection)
    return [
        ("candidates", f"{s['candidates']}, each drawn at random"),
        ("tries", f"1 to {s['most_tries']}, on average {s['mean_tries']}; the number is drawn and told to nobody"),
        ("priced by", f"{s['taken']}: composed {s['composed']}, selected {s['selected']}; one try {s['one_try']}"),
        ("scoring, held out", f"epsilon {s['score_epsilon']}; {s['score_charge']} of {s['score_available']}"),
    ]


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of a job's progress: coarse, and at fixed ticks."""

    state: str
    percent: int

    def __str__(self) -> str:
        return f"{self.state} {self.percent} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(View):
    """A job as its requester and the data's owner see it."""

    NOUN: ClassVar[str] = "job"
    COLUMNS: ClassVar[tuple[str, ...]] = ("job", "kind", "state", "percent", "purpose", "epsilon", "release")
    gateway: Gateway = field(repr=False, compare=False)
    job: str
    kind: str
    state: str
    percent: int
    dataset: str
    purpose: str
    epsilon: str
    request_digest: str
    created_at: str
    release: str | None
    principal: str
    model: Mapping[str, Any] | None = None
    request: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    def lines(self) -> list[tuple[str, object]]:
        """The job as one would say it; its model by the graph's digest, which an approval binds."""
        shown = super(Job, self).lines()
        return [line for line in shown if line[0] != "model"] + model_lines(self.model)

    def refresh(self) -> Job:
        """The job as it stands now, with its request."""
        return self.gateway.jobs[self.job]

    def follow(self) -> Iterator[Progress]:
        """Yield its progress until it ends; a lost connection is taken up again where it broke."""
        for _, data in self.gateway.connection.events(f"/v1/jobs/{self.job}/events"):
            yield Progress(str(data["state"]), int(data["percent"]))

    def wait(self, on_progress: Callable[[Progress], object] | None = None) -> Job:
        """Wait for its end and return the finished job.

        Raises:
            JobEndedError: It failed, or was cancelled or refused.
        """
        for progress in self.follow():
            if on_progress is not None:
                on_progress(progress)
        after = self.refresh()
        if after.state != "finished":
            raise JobEndedError(after)
        return after

    def cancel(self) -> Job:
        """Stop it. What was started is charged; a job that never touched data gives its hold back."""
        return self.gateway.cancel(self)

    def result(self) -> Release:
        """The release of a finished job, wherever it stands."""
        job = self if self.release else self.refresh()
        if job.release is None:
            raise JobEndedError(job)
        return self.gateway.releases[job.release]


def _largest(fits: str | None, granted: str | None) -> str:
    """The lesser of what the budget holds and what the grant allows, and which it is."""
    if fits is None:
        return "none"
    if granted is None or Decimal(fits) <= Decimal(granted):
        return f"epsilon {fits}"
    return f"epsilon {granted}, the most that your grant allows for one job (the budget would hold {fits})"


def _times(steps: int) -> str:
    return "once" if steps == 1 else f"in each of {steps} steps"


def _whole_odds(times: int | None) -> str:
    if times is None:
        return "an exact result left: no odds"
    # The owner chose by this figure, and it is larger than a job's at the same epsilon: that has to be said here.
    return (
        f"at most {times} times in 100, from all jobs together, whatever they will be: a coarser bound than one job's"
    )


def model_lines(model: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    """A model by its graph's digest, with its size beside the largest that is allowed."""
    if model is None:
        return []
    from privacy.graph import check, spec

    size = model.get("size", {})
    most = {
        "parameters": check.MOST_WEIGHT_ELEMENTS,
        "activations_per_row": check.MOST_ACTIVATIONS_PER_ROW,
        "multiply_adds_per_row": check.MOST_COST_PER_ROW,
        "nodes": spec.MOST_NODES,
    }
    limits = [(name.replace("_", " "), f"{size[name]} of at most {most[name]}") for name in most if name in size]
    run = ("engine, clipping", f"{model.get('engine')}, {model.get('clipping')}")
    return [("model graph", model.get("graph")), *limits, run]
