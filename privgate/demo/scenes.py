"""The acts of owner, trainer and door-keeper, from an empty gateway to a released and evaluated model.

Rules
-----
1. Every refusal that is told was asked for and answered by the gateway; what it said is kept for the summary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privgate.client.errors import BudgetExhaustedError, DeniedError, GatewayError, UnavailableError
from privgate.demo.cast import OTHER_PURPOSE, PURPOSE, SENSITIVITY, Cast
from privgate.demo.screen import Screen
from privgate.demo.tables import Declared
from privgate.demo.waiting import until
from privgate.sdk.datasets import Dataset
from privgate.sdk.errors import UploadRefusedError
from privgate.sdk.jobs import Job, Quote
from privgate.sdk.releases import VerifiedRelease
from privgate.sdk.views import Population

UNTIL = "2099-12-31T00:00:00Z"
TOO_MUCH = "60"
CHOICES = ("1", "4", "8")
REASON = "A demonstration: room for a model, its evaluation, and a few more of both."


class DemoError(Exception):
    """The gateway did something else than the story says."""


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    table: Declared
    cast: Cast
    screen: Screen
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, text: str, act: Callable[[], object]) -> GatewayError | UploadRefusedError:
        """Do what has to be refused and keep what was answered."""
        try:
            act()
        except (DeniedError, BudgetExhaustedError) as error:
            kept = {"what": text, "code": error.code, "decision": error.decision, "detail": str(error)}
            self.refusals.append(kept | ({"reason": error.data["reason"]} if "reason" in error.data else {}))
            self.screen.refused(text, str(error))
            return error
        except UploadRefusedError as error:
            self.refusals.append({"what": text, "code": "upload-refused", "detail": str(error)})
            self.screen.refused(text, str(error))
            return error
        raise DemoError(f"the gateway should have refused this: {text}")


def register(story: Story, file: Path) -> tuple[Population, Dataset]:
    """The owner declares population and dataset, uploads the rows, and grants."""
    owner, table, screen = story.cast["owner"].gateway, story.table, story.screen
    screen.act("The owner", "says who is protected, declares the table, uploads it")
    told = table.population
    population = owner.create_population(
        unit_kind=table.unit["kind"],
        unit_noun=told["unit_noun"],
        unit_domain=told["unit_domain"],
        public_size=told["public_size"],
        holdout_share=told["holdout_share"],
        epsilon=told["epsilon"],
        delta=told["delta"],
        shown=CHOICES,
        reason=REASON,
    )
    screen.did(
        f"population of about {told['public_size']} {told['unit_noun']}s",
        f"one of them may lose epsilon {told['epsilon']} at delta {told['delta']} in total, for ever",
    )
    odds = f"once all of that is spent, an attacker is right at most {population.odds} times in 100; 50 is a coin"
    screen.did("choice and reason logged", odds)
    dataset = _declare(story, population)
    screen.did(f"“{table.title}” declared", f"{len(table.columns)} columns, bounds typed, never computed from rows")
    owner.upload(dataset, file)
    screen.did("rows uploaded, checked, encrypted", f"{told['holdout_share']} of the people are held out")
    return population, owner.datasets[dataset.dataset]


def grant(story: Story, dataset: Dataset, *, approval_required: bool = True) -> None:
    """The owner permits the trainer two kinds of jobs for one purpose."""
    owner, trainer = story.cast["owner"].gateway, story.cast["trainer"].principal
    ceiling = story.table.evaluation["epsilon"]
    owner.grant(
        principal=trainer, dataset=dataset, purpose=PURPOSE, until=UNTIL, job_kinds=["training"],
        approval_required=approval_required,
    )  # fmt: skip
    owner.grant(
        principal=trainer, dataset=dataset, purpose=PURPOSE, until=UNTIL, job_kinds=["evaluation"],
        auto_release_epsilon=ceiling,
    )  # fmt: skip
    story.screen.did(f"trainer granted {PURPOSE}", f"evaluations up to epsilon {ceiling} may leave by policy")


def look_around(story: Story, dataset: Dataset) -> Quote:
    """The trainer reads the catalogue, asks for a price, and meets the first refusals."""
    trainer, screen = story.cast["trainer"].gateway, story.screen
    screen.act("The trainer", "reads the catalogue and asks what a model would cost")
    for card in trainer.datasets:
        screen.did(f"“{card.title}”", f"about {card.public_size} {card.unit_noun}s, for {', '.join(card.purposes)}")
    quote = trainer.quote_request(training(story, dataset))
    screen.figures(
        [
            ("this job alone", f"epsilon {quote.epsilon} at delta {quote.delta}"),
            ("share of the budget", f"{float(quote.budget_share):.1%}"),
            ("in odds", f"an attacker is right at most {quote.odds} times in 100; 50 is a coin"),
            ("will it succeed", quote.prospect),
            ("noise", f"{float(quote.noise_multiplier):.2f} times the clip, in every step"),
            ("largest job of this shape", f"epsilon {quote.largest_epsilon}"),
        ]
    )
    newcomer = story.cast["newcomer"].gateway
    story.refuse("somebody without a grant asks for the same model", lambda: newcomer.submit(training(story, dataset)))
    story.refuse(
        f"the trainer asks with the purpose “{OTHER_PURPOSE}”",
        lambda: trainer.submit(training(story, dataset) | {"purpose": OTHER_PURPOSE}),
    )
    return quote


def train(story: Story, quote: Quote) -> VerifiedRelease:
    """Request, approval, run, door-keeper, download."""
    trainer, screen = story.cast["trainer"].gateway, story.screen
    screen.act("The trainer", "requests the model")
    job = quote.submit()
    screen.did("job requested", job.state)
    story.cast["owner"].gateway.approve(job.job)
    screen.did("the owner said yes", "to the digest of exactly this request")
    done = _follow(story, job, "training with noise")
    release = trainer.releases[done.release or ""]
    screen.did("release made", f"{release.state}: nobody can fetch it yet")
    story.cast["door-keeper"].gateway.check_release(release.release, "release")
    screen.did("the door-keeper let it go")
    return _fetched(story, release.release)


def evaluate(story: Story, dataset: Dataset, model: VerifiedRelease) -> VerifiedRelease:
    """A priced evaluation on the holdout; it leaves by policy."""
    trainer, asked = story.cast["trainer"].gateway, story.table.evaluation
    story.screen.act("The trainer", "asks how good the model is on people it has never seen")
    job = trainer.evaluate(
        model.release.release, dataset=dataset, purpose=PURPOSE, epsilon=asked["epsilon"], bins=asked["bins"],
        shares=asked["shares"],
    )  # fmt: skip
    done = _follow(story, job, "evaluating with noise")
    return _fetched(story, done.release or "")


def spend_too_much(story: Story, population: Population, dataset: Dataset, file: Path) -> None:
    """No new name for the same people frees anything, and more than remains is refused."""
    trainer, owner, screen = story.cast["trainer"].gateway, story.cast["owner"].gateway, story.screen
    screen.act("The owner", "registers the same file again; the trainer wants more than is left")
    before = trainer.quote_request(training(story, dataset)).available
    again = _declare(story, population)
    owner.upload(again, file)
    grant(story, again, approval_required=False)
    after = trainer.quote_request(training(story, again)).available
    if before != after:
        raise DemoError("registering the same file again changed what is left")
    screen.did(
        "the same file under a new name frees nothing", f"{after} was and is left (Rényi, order {population.order})"
    )
    greedy = training(story, again) | {"epsilon": TOO_MUCH}
    error = story.refuse(f"the trainer requests a model at epsilon {TOO_MUCH}", lambda: trainer.submit(greedy))
    if isinstance(error, BudgetExhaustedError):
        story.refusals[-1]["largest_epsilon"] = error.largest_epsilon
        screen.note(f"the largest such job that would still fit: epsilon {error.largest_epsilon}")
    moved = _declare(story, _another_population(story))
    story.refuse("the same people are uploaded as another population", lambda: owner.upload(moved, file))


def _another_population(story: Story) -> Population:
    told = story.table.population
    return story.cast["owner"].gateway.create_population(
        unit_kind=story.table.unit["kind"],
        unit_noun=told["unit_noun"],
        unit_domain="somebody-else",
        public_size=told["public_size"],
        holdout_share=told["holdout_share"],
        epsilon=told["epsilon"],
        delta=told["delta"],
    )


def training(story: Story, dataset: Dataset) -> dict[str, Any]:
    """The training request as it was written down."""
    return {"kind": "training", "dataset": dataset.dataset, "purpose": PURPOSE, **story.table.training}


def _declare(story: Story, population: Population) -> Dataset:
    table = story.table
    return story.cast["owner"].gateway.register_dataset(
        title=table.title,
        description=table.description,
        population=population,
        schema=table.schema,
        unit=table.unit,
        sensitivity=SENSITIVITY,
        purposes=["research"],
        legal_basis="gdpr-6-1-e-public-task",
        special_condition="gdpr-9-2-j-archiving-research-statistics",
        retention_until=UNTIL,
    )


def _follow(story: Story, job: Job, text: str) -> Job:
    with story.screen.progress(text) as bar:
        return job.wait(lambda progress: bar.update(bar.task_ids[0], completed=progress.percent))


def _fetched(story: Story, release: str) -> VerifiedRelease:
    """Fetch once the log has published the release's entry."""
    gateway = story.cast["trainer"].gateway
    fetched = until(lambda: gateway.fetch_release(release), UnavailableError)
    alone = fetched.priced.predicate.this_job_alone
    story.screen.did(
        f"{fetched.certificate.artifact_name} fetched, certificate and receipt verified",
        f"epsilon {alone.epsilon}, log entry {fetched.entry.index}",
    )
    return fetched
