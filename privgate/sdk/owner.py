"""Verbs of a data owner: populations, datasets, uploads, grants, approvals, the release desk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import InvalidError
from privacy.schema import TableSchema
from privgate.sdk.amounts import Moment, Number, ahead_text, decimal_text, moment_text
from privgate.sdk.collections import Party
from privgate.sdk.datasets import Dataset
from privgate.sdk.errors import UploadRefusedError
from privgate.sdk.jobs import Job
from privgate.sdk.pages import Collection
from privgate.sdk.releases import Release
from privgate.sdk.session import Session, given, identifier
from privgate.sdk.views import Grant, Population, Version

if TYPE_CHECKING:
    from privgate.sdk.gateway import Gateway

FORMS = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}
POLL_SECONDS = 0.5


class OwnerVerbs(Session):
    """What an owner does."""

    @property
    def populations(self) -> Collection[Population]:
        """The populations that you own."""
        return Collection(self.connection, "/v1/populations", Population.read, Population)

    @property
    def grants(self) -> Collection[Grant]:
        """Grants on your datasets, or your own."""
        return Collection(self.connection, "/v1/grants", Grant.read, Grant)

    def create_population(
        self,
        *,
        unit_noun: str,
        unit_domain: str,
        public_size: int,
        epsilon: Number,
        delta: Number,
        unit_kind: str = "record",
        holdout_share: Number = "0.2",
        larger_delta_reason: str | None = None,
        shown: Sequence[Number] = (),
        reason: str | None = None,
        key: str | None = None,
    ) -> Population:
        """Declare who is protected and what one of them may lose in total.

        Args:
            unit_noun: What to call one of them, for example `patient`.
            unit_domain: Which of them: `patients-by-mrn`. The same people are one population, whatever the file.
            public_size: A coarse, public number; it need not be true and never comes from a file.
            epsilon: The budget.
            delta: At most 1/(100 public_size) and 0.000001.
            unit_kind: `record`, or `column` where a column of the tables names the person.
            holdout_share: The part of the people set apart for evaluations.
            larger_delta_reason: The owner's reason for a larger delta, which is logged.
            shown: The epsilons that the owner chose from; they are logged with the odds of each.
            reason: Why this epsilon; a commitment to it is logged, the text is kept beside the log.
            key: Idempotency key, if the caller wants to send again.
        """
        body = {
            "unit": {"kind": unit_kind, "noun": unit_noun},
            "unit_domain": unit_domain,
            "public_size": public_size,
            "holdout_share": decimal_text(holdout_share, "holdout_share"),
            "epsilon": decimal_text(epsilon, "epsilon"),
            "delta": decimal_text(delta, "delta"),
            **given(larger_delta_reason=larger_delta_reason, choice=_choice(shown, reason)),
        }
        return Population.read(self.connection.post("/v1/populations", body, key=key))

    def change_budget(
        self,
        population: Population | str,
        epsilon: Number,
        *,
        shown: Sequence[Number] = (),
        reason: str | None = None,
    ) -> Population:
        """Raise or lower epsilon, never below what is charged and held.

        A population that was read before is changed only if its ledger has not moved on since; read it again then.
        `shown` and `reason` are logged as they are for a new population.
        """
        read = self.populations[population] if isinstance(population, str) else population
        body = {"epsilon": decimal_text(epsilon, "epsilon"), **given(choice=_choice(shown, reason))}
        path = f"/v1/populations/{read.population}/budget"
        return Population.read(self.connection.put(path, body, version=read.ledger_seq))

    def open_block(self, population: Population | str, public_size: int) -> Population:
        """Open a home block: people who first appear from here on are charged apart from those before.

        Args:
            population: Which. One that was read before is changed only if its ledger has not moved on since.
            public_size: About how many will be at home in it; coarse, and not more than the population.
        """
        read = self.populations[population] if isinstance(population, str) else population
        path = f"/v1/populations/{read.population}/blocks/{read.homes + 1}"
        return Population.read(self.connection.put(path, {"public_size": public_size}, version=read.ledger_seq))

    def cap_trainer(self, population: Population | str, principal: str, share: Number) -> None:
        """Cap what one trainer may hold and spend: access policy, not privacy."""
        path = f"/v1/populations/{identifier(population, 'population')}/caps"
        self.connection.put(path, {"principal": principal, "share": decimal_text(share, "share")})

    def register_dataset(
        self,
        *,
        title: str,
        population: Population | str,
        schema: TableSchema | Mapping[str, Any],
        unit: Mapping[str, Any],
        sensitivity: str,
        purposes: Sequence[str],
        legal_basis: str,
        retention_until: Moment,
        description: str = "",
        special_condition: str | None = None,
        basis_until: Moment | None = None,
        site: str | None = None,
        key: str | None = None,
    ) -> Dataset:
        """Declare a dataset: what its columns are, who is protected, what for, why, until when.

        With `site`, one of your parties, the rows stay there: its agent attests them, and nothing is uploaded.
        """
        body = {
            "title": title,
            "description": description,
            "population": identifier(population, "population"),
            "schema": schema.to_json() if isinstance(schema, TableSchema) else dict(schema),
            "unit": dict(unit),
            "sensitivity": sensitivity,
            "purposes": list(purposes),
            "legal_basis": legal_basis,
            "retention_until": moment_text(retention_until, "retention_until"),
            **given(
                special_condition=special_condition,
                site=site,
                basis_until=None if basis_until is None else moment_text(basis_until, "basis_until"),
            ),
        }
        return Dataset.read(self.connection.post("/v1/datasets", body, key=key), gateway=self._whole)

    def upload(
        self,
        dataset: Dataset | str,
        path: str | Path,
        *,
        form: str | None = None,
        header: bool = True,
        delimiter: str = ",",
        wait: bool = True,
    ) -> Version:
        """Send a file's rows and, unless told otherwise, wait until they are sealed.

        Args:
            dataset: Whose rows.
            path: A CSV, Parquet or JSON Lines file, also with gzip.
            form: `csv`, `parquet` or `jsonl`; by default what the file's name says.
            header: Whether a CSV file's first line names the columns.
            delimiter: What stands between a CSV file's fields.
            wait: Whether to wait for the worker.

        Raises:
            UploadRefusedError: A row breaks the schema; nothing was kept.
        """
        file, gzip = Path(path), Path(path).suffix == ".gz"
        form = form or _form_of(file.with_suffix("") if gzip else file)
        with file.open("rb") as source:
            body = self.connection.put_stream(
                f"/v1/datasets/{identifier(dataset, 'dataset')}/content",
                source,
                format=form,
                header=header,
                delimiter=delimiter,
                gzip=gzip,
            )
        version = Version.read(body)
        return self.wait_for_version(version) if wait else version

    def version(self, dataset: Dataset | str, version: str) -> Version:
        """Where an upload stands, for its owner alone."""
        return Version.read(
            self.connection.get(
                f"/v1/datasets/{identifier(dataset, 'dataset')}/versions/{identifier(version, 'version')}"
            )
        )

    def versions(self, dataset: Dataset | str) -> list[Version]:
        """All uploads of a dataset, the oldest first, for its owner alone."""
        found = self.connection.get(f"/v1/datasets/{identifier(dataset, 'dataset')}/versions")
        return [Version.read(body) for body in found]

    def erase_version(self, dataset: Dataset | str, version: Version | str) -> None:
        """Destroy the key of a version that jobs no longer read: nobody opens its rows again.

        What was spent on its people stays spent. Upload a version without the rows to erase first, or retire the
        dataset; jobs that hold budget on the version must have ended.
        """
        path = f"/v1/datasets/{identifier(dataset, 'dataset')}/versions/{identifier(version, 'version')}"
        self.connection.delete(path)

    def wait_for_version(self, version: Version, on_state: Callable[[str], object] | None = None) -> Version:
        """Wait until an upload is sealed; raise `UploadRefusedError` if it is refused."""
        while not version.ended:
            time.sleep(POLL_SECONDS)
            version = self.version(version.dataset, version.version)
            if on_state is not None:
                on_state(version.state)
        if version.state == "refused":
            raise UploadRefusedError(version)
        return version

    def retire_dataset(self, dataset: Dataset | str) -> None:
        """End a dataset's use. What was spent stays spent."""
        self.connection.delete(f"/v1/datasets/{identifier(dataset, 'dataset')}")

    def grant(
        self,
        *,
        principal: str,
        dataset: Dataset | str,
        purpose: str,
        until: Moment,
        job_kinds: Sequence[str] = ("training", "evaluation"),
        trainer_share: Number = "1",
        approval_required: bool = False,
        max_epsilon: Number | None = None,
        auto_release_epsilon: Number | None = None,
        exact_release: str | None = None,
        key: str | None = None,
    ) -> Grant:
        """Permit one principal the use of one dataset for one purpose, until a date, within obligations.

        `exact_release="two-approvals"` lets results without noise leave, once you and another person have said yes.
        """
        limits = {"max_epsilon": max_epsilon, "auto_release_epsilon": auto_release_epsilon}
        body = {
            "principal": principal,
            "dataset": identifier(dataset, "dataset"),
            "purpose": purpose,
            "until": ahead_text(until, "until"),
            "job_kinds": list(job_kinds),
            "obligations": {
                "trainer_share": decimal_text(trainer_share, "trainer_share"),
                "approval_required": approval_required,
                **{name: decimal_text(value, name) for name, value in limits.items() if value is not None},
                **given(exact_release=exact_release),
            },
        }
        return Grant.read(self.connection.post("/v1/grants", body, key=key))

    def revoke_grant(self, grant: Grant | str) -> None:
        """Take a grant back."""
        self.connection.delete(f"/v1/grants/{identifier(grant, 'grant')}")

    @property
    def parties(self) -> Collection[Party]:
        """The agents of sites and key holders that were enrolled."""
        return Collection(self.connection, "/v1/parties", Party.read, Party)

    def disable_party(self, party: Party | str) -> Party:
        """End the access of one of your agents, for good."""
        return Party.read(self.connection.delete(f"/v1/parties/{identifier(party, 'party')}"))

    def approve(self, job: Job | str) -> Job:
        """Say yes to a job that waits for its owner: to exactly the request that it shows now."""
        return _answer(self._whole, job, "approved")

    def disapprove(self, job: Job | str) -> Job:
        """Say no to a job that waits for its owner."""
        return _answer(self._whole, job, "refused")

    def check_release(self, release: Release | str, verdict: str) -> Release:
        """The door-keeper's answer to a held release: `release` or `refuse`."""
        path = f"/v1/releases/{identifier(release, 'release')}/check"
        return Release.read(self.connection.post(path, {"verdict": verdict}), gateway=self._whole)

    def recall_release(self, release: Release | str) -> Release:
        """Close a release's download. What was disclosed stays disclosed."""
        path = f"/v1/releases/{identifier(release, 'release')}/recall"
        return Release.read(self.connection.post(path), gateway=self._whole)


def _choice(shown: Sequence[Number], reason: str | None) -> dict[str, Any] | None:
    if not shown and reason is None:
        return None
    return {"alternatives": [decimal_text(epsilon, "shown") for epsilon in shown], **given(reason=reason)}


def _answer(gateway: Gateway, job: Job | str, verdict: str) -> Job:
    found = gateway.jobs[job] if isinstance(job, str) else job
    body: dict[str, Any] = {"verdict": verdict, "request_digest": found.request_digest}
    if found.model is not None:
        body["graph"] = found.model["graph"]
    make = partial(Job.read, gateway=gateway)
    return make(gateway.connection.post(f"/v1/jobs/{found.job}/approval", body))


def _form_of(path: Path) -> str:
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise InvalidError("say `form`: csv, parquet or jsonl; the file's name does not", field="form")
    return form
