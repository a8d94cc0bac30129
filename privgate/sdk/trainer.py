"""Verbs of a trainer: the catalogue, quotes, jobs, releases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privgate.sdk.amounts import Number
from privgate.sdk.collections import SitesQuote
from privgate.sdk.datasets import Dataset
from privgate.sdk.jobs import Job, Quote
from privgate.sdk.pages import Collection
from privgate.sdk.rehearsals import JobRehearsal, Progress, Rehearsal, Rows
from privgate.sdk.releases import FILES, Release, VerifiedRelease
from privgate.sdk.requests import (
    evaluation_request,
    glm_request,
    statistics_request,
    synthesis_request,
    training_request,
)
from privgate.sdk.session import Session, identifier
from privgate.sdk.trying import rehearse
from privgate.sdk.tuning import MEMBERS, tuning_request

if TYPE_CHECKING:
    from privgate.sdk.inferring import QuestionQuote
    from privgate.sdk.scores import Scores


class TrainerVerbs(Session):
    """What a trainer does."""

    @property
    def datasets(self) -> Collection[Dataset]:
        """The catalogue."""
        return Collection(self.connection, "/v1/datasets", partial(Dataset.read, gateway=self._whole), Dataset)

    @property
    def jobs(self) -> Collection[Job]:
        """Jobs that you asked for, or that read your data."""
        return Collection(self.connection, "/v1/jobs", partial(Job.read, gateway=self._whole), Job)

    @property
    def releases(self) -> Collection[Release]:
        """Releases that you asked for, that come from your data, or that you may check."""
        return Collection(self.connection, "/v1/releases", partial(Release.read, gateway=self._whole), Release)

    def quote(
        self, dataset: Dataset | str, *, purpose: str, epsilon: Number, release: Release | str | None = None,
        **choices: Any,
    ) -> Quote:  # fmt: skip
        """What a job of any kind would cost; nothing is held.

        See `train` for the choices; with `search`, `tries` or `score_epsilon` it is a tuning (`tune`), with `family` a
        model with standard errors (`glm`), with `queries` statistics, with `method` a synthetic table
        (`synthesise`), with `release` an evaluation.
        """
        choices |= {"purpose": purpose, "epsilon": epsilon}
        return self.quote_request(_request(dataset, release, choices))

    def quote_request(self, request: Mapping[str, Any]) -> Quote:
        """What a written request would cost."""
        return Quote.read(self.connection.post("/v1/quotes", {"spec": dict(request)}), gateway=self._whole)

    def quote_sites(self, request: Mapping[str, Any]) -> SitesQuote:
        """What a job on data of sites (a kind that begins with `he.`) would take, and who would learn what."""
        return SitesQuote.read(self.connection.post("/v1/quotes", {"spec": dict(request)}))

    def quote_inference(self, release: Release | str, *, purpose: str, batches: int = 1) -> QuestionQuote:
        """What asking a released model under encryption (`infer`) would take, and who would learn what."""
        from privgate.sdk.inferring import QuestionQuote, request_for

        request = request_for(identifier(release, "release"), purpose=purpose, batches=batches)
        return QuestionQuote.read(self.connection.post("/v1/quotes", {"spec": request}))

    def infer(
        self,
        release: Release | str,
        rows: Any,
        *,
        purpose: str,
        keep: str | Path | None = None,
        key_file: str | Path | None = None,
        on_waiting: Callable[[Job], object] | None = None,
        on_progress: Callable[[Any], object] | None = None,
        then: Callable[[Scores], object] | None = None,
    ) -> Scores:
        """Ask a released model about rows of your own: encrypted here, evaluated there, read by you alone.

        Args:
            release: A released model that a grant for `he.infer` lets you ask; you need not be able to fetch it.
            rows: A list or a data frame.
            purpose: Why; the grant must cover it.
            keep: A folder that keeps the question, sealed, until its answer is read: the same call again goes on where
                it was left. Without one all of it is lost with the process.
            key_file: What opens that folder; by default a file in it.
            on_waiting: Called with a job that waits for its owner; by default that is waited for.
            on_progress: Called with each line of the job's progress.
            then: Called with the scores before what was kept is destroyed.

        Raises:
            DeniedError: No grant lets you ask this model.
            InvalidError: The rows lack a column that the model takes, or none can be scored; no job was requested.
            AnswerHeldError: The answer's door-keeper has not let it go yet; with `keep`, ask again later.
            CorruptError: What came back is not the certified answer to this question.
            ExtraMissingError: The extra `he` is not installed.
        """
        from privgate.sdk.inferring import infer
        from privgate.sdk.questions import InFolder, InMemory

        return infer(
            self._whole,
            identifier(release, "release"),
            rows,
            purpose=purpose,
            keeping=InMemory() if keep is None else InFolder(Path(keep), None if key_file is None else Path(key_file)),
            on_waiting=on_waiting,
            on_progress=on_progress,
            then=then,
        )

    def rehearse(
        self,
        dataset: Dataset | str,
        *,
        purpose: str,
        epsilon: Number,
        release: Release | str | None = None,
        rows: Rows | None = None,
        test: Rows | None = None,
        steps: int | None = None,
        seed: int = 0,
        on_progress: Progress | None = None,
        **choices: Any,
    ) -> Rehearsal | JobRehearsal:
        """Try a job out on this machine: the gateway's plan, shapes and refusals, and nothing is spent.

        Args:
            dataset: For what; only its card is read.
            purpose: Why, as for `train`.
            epsilon: Of this job alone.
            release: Of an evaluation: the model; it is fetched and verified.
            rows: Own rows: a list, a data frame, or a .csv, .jsonl or .parquet file. Dummy rows if absent.
            test: Of a training: own rows to judge the model on; by default a fifth of the units is kept back.
            steps: Of a training: run only so many of the plan's steps.
            seed: Of dummy rows.
            on_progress: Of a training: called with the steps done and to do, before each tenth and at the end.
            choices: As for `quote`.

        Raises:
            InvalidError, TooLargeError: What the gateway would say, in its words.
            ExtraMissingError: The extra `train` is not installed.
        """
        request = _request(dataset, release, choices | {"purpose": purpose, "epsilon": epsilon})
        how: dict[str, Any] = {"rows": rows, "test": test, "steps": steps, "seed": seed, "on_progress": on_progress}
        return self.rehearse_request(request, **how)

    def rehearse_request(self, request: Mapping[str, Any], **how: Any) -> Rehearsal | JobRehearsal:
        """Try a written request of any kind out; `how` as for `rehearse`, of which only a training has steps."""
        return rehearse(self.datasets[str(request.get("dataset"))], request, **how)

    def train(
        self, dataset: Dataset | str, *, purpose: str, epsilon: Number, key: str | None = None, **choices: Any
    ) -> Job:
        """Request a private model.

        Args:
            dataset: On what.
            purpose: Why; a grant of yours must cover it.
            epsilon: Of this job alone.
            key: Idempotency key: the same key and request are one job, however often they are sent.
            choices: `label`, or `features` in full; `model`; `recipe`. See `requests.training_request`.

        Raises:
            DeniedError: The policy says no.
            BudgetExhaustedError: It does not fit; the error has the largest such job that would.
        """
        return self.submit(_training(dataset, purpose=purpose, epsilon=epsilon, **choices), key=key)

    def tune(
        self, dataset: Dataset | str, *, purpose: str, epsilon: Number, key: str | None = None, **choices: Any
    ) -> Job:
        """Request the best of several private models, tried with different recipes, as one job at one price.

        Args:
            dataset: On what; its population must have people held out, who score the candidates.
            purpose: Why; a grant of yours must cover it.
            epsilon: Of this job alone.
            key: Idempotency key, as for `train`.
            choices: `search`, such as `{"learning_rate": [0.1, 1], "clip": {"low": 0.1, "high": 1, "values": 3}}`;
                `tries`, the most there may be; `score_epsilon`; and those of `train`. See `tuning.tuning_request`.
        """
        return self.submit(_tuning(dataset, purpose=purpose, epsilon=epsilon, **choices), key=key)

    def evaluate(
        self,
        release: Release | str,
        *,
        purpose: str,
        epsilon: Number,
        dataset: Dataset | str | None = None,
        key: str | None = None,
        **choices: Any,
    ) -> Job:
        """Request a priced evaluation of a released model on an owner's holdout; by default the one it came from.

        Args:
            release: A released model.
            purpose: Why; a grant of yours must cover it.
            epsilon: Of this job alone.
            key: Idempotency key, as for `train`.
            dataset: On whose holdout.
            choices: `confusion=True`, `subgroups=["sex"]`, `shares`, `bins`, `least_group`, `error_bound`. See
                `requests.evaluation_request`.
        """
        if dataset is None:
            found = self.releases[release] if isinstance(release, str) else release
            dataset = found.dataset
        return self.submit(_evaluation(release, dataset, purpose=purpose, epsilon=epsilon, **choices), key=key)

    def statistics(
        self,
        dataset: Dataset | str,
        *,
        purpose: str,
        epsilon: Number,
        queries: Sequence[Mapping[str, Any]],
        block: str | None = None,
        home: bool = False,
        key: str | None = None,
    ) -> Job:
        """Request priced statistics of a table: see `privgate.statistics` for the queries.

        Args:
            dataset: Of what.
            purpose: Why; a grant of yours must cover it.
            epsilon: Of all queries together; they share it by their weights.
            queries: What is asked.
            block: `train` by default, or `holdout`.
            home: Only the people who were new in the version's home block.
            key: Idempotency key, as for `train`.
        """
        request = statistics_request(
            identifier(dataset, "dataset"), purpose=purpose, epsilon=epsilon, queries=queries, block=block, home=home
        )
        return self.submit(request, key=key)

    def glm(
        self, dataset: Dataset | str, *, purpose: str, epsilon: Number, key: str | None = None, **choices: Any
    ) -> Job:
        """Request a generalised linear model with standard errors that include the noise.

        `print(job.wait().result().fetch().glm())` shows the table that people publish.

        Args:
            dataset: On what.
            purpose: Why; a grant of yours must cover it.
            epsilon: Of this job alone.
            key: Idempotency key, as for `train`.
            choices: `family` (linear, logistic, poisson or hazard), `outcome`, `predictors`, `counted`. See
                `requests.glm_request`.
        """
        request = glm_request(identifier(dataset, "dataset"), purpose=purpose, epsilon=epsilon, **choices)
        return self.submit(request, key=key)

    def synthesise(
        self, dataset: Dataset | str, *, purpose: str, epsilon: Number, key: str | None = None, **choices: Any
    ) -> Job:
        """Request a synthetic table: pay once for its counts, then draw rows for ever.

        `job.wait().result().fetch().synthetic_table().rows(dataset.schema, 10_000)` draws them.

        Args:
            dataset: Of what.
            purpose: Why; a grant of yours must cover it.
            epsilon: Of this job alone.
            key: Idempotency key, as for `train`.
            choices: `columns`, `bins`, `edges`, `around` (the column to predict), `per`, `block`. See
                `requests.synthesis_request`.
        """
        request = synthesis_request(identifier(dataset, "dataset"), purpose=purpose, epsilon=epsilon, **choices)
        return self.submit(request, key=key)

    def submit(self, request: Mapping[str, Any], *, key: str | None = None) -> Job:
        """Request a job in writing; see docs/formats/job-spec.md."""
        return Job.read(self.connection.post("/v1/jobs", {"spec": dict(request)}, key=key), gateway=self._whole)

    def cancel(self, job: Job | str) -> Job:
        """Stop a job. What was started is charged."""
        path = f"/v1/jobs/{identifier(job, 'job')}/cancel"
        return Job.read(self.connection.post(path), gateway=self._whole)

    def fetch_release(self, release: Release | str) -> VerifiedRelease:
        """Fetch the files of a release and verify them together.

        Raises:
            NotPinnedError: No trust file is pinned.
            ConflictError: Its door-keeper has not let it go.
            CorruptError: A file is not what it should be.
        """
        from privgate.sdk.believing import believe

        trust = self.pinned
        found = self.releases[release] if isinstance(release, str) else release
        path = f"/v1/releases/{found.release}/files/"
        files = {name: self.connection.get_bytes(path + name) for name in FILES}
        artifact = self.connection.get_bytes(path + "artifact")
        believed = believe(
            found.release,
            certificate=files["certificate.json"],
            artifact=artifact,
            receipt=files["receipt.tlog-proof"],
            trust=trust,
        )
        return VerifiedRelease(
            release=found,
            certificate=believed.certificate,
            entry=believed.entry,
            files={believed.certificate.artifact_name: artifact, **files},
        )


def _request(dataset: Dataset | str, release: Release | str | None, choices: Mapping[str, Any]) -> dict[str, Any]:
    """A request of the kind that the choices tell."""
    if release is not None:
        return _evaluation(release, dataset, **choices)
    if "family" in choices:
        return glm_request(identifier(dataset, "dataset"), **choices)
    if "method" in choices:
        return synthesis_request(identifier(dataset, "dataset"), **choices)
    if "queries" in choices:
        return statistics_request(identifier(dataset, "dataset"), **choices)
    return _tuning(dataset, **choices) if MEMBERS & set(choices) else _training(dataset, **choices)


def _training(dataset: Dataset | str, **choices: Any) -> dict[str, Any]:
    return training_request(identifier(dataset, "dataset"), **choices)


def _tuning(dataset: Dataset | str, **choices: Any) -> dict[str, Any]:
    return tuning_request(identifier(dataset, "dataset"), **choices)


def _evaluation(release: Release | str, dataset: Dataset | str, **choices: Any) -> dict[str, Any]:
    return evaluation_request(identifier(release, "release"), identifier(dataset, "dataset"), **choices)
