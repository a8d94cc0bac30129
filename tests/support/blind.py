"""A site that trains blindly, and a carrier that plays its gateway: real keys, real ciphertexts, real worker.

Only the sandbox is left out, so that a test costs no process for each epoch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audit.note import KeyKind, NoteKey
from audit.trust import TrustFile
from kernel.canonical import Digest, digest_of
from kernel.clock import ManualClock
from kernel.ids import DatasetId, JobId, PartyId, PopulationId, Slug, TenantId
from kernel.signing import Ed25519Signer
from privacy.glm.sums import Cases
from privacy.homomorphic.blind import site_runner
from privacy.homomorphic.blind.assignment import ROLE, Step
from privacy.homomorphic.blind.documents import BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.judging import read_data
from privacy.homomorphic.blind.recipe import BlindRecipe, Floats, dry_run
from privacy.homomorphic.blind.shape import PROFILE, BlindShape
from privacy.homomorphic.blind.spec import BlindPlan, complete_blind
from privacy.homomorphic.documents.parties import Member, PartyKind
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.tenseal_backend.blind import BlindWorker
from privacy.ingest.formats import UploadFormat
from privacy.sandbox.frames import Channel as Pipe
from privacy.schema import TableSchema
from privacy.sealing.durable import Point, no_point
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
from privacy.training.rows import RowEncoder, encode_columns
from privacy.training.units import UnitTable
from privgate.agents.home import Enrolment, Home
from privgate.agents.rules import KINDS, Rules
from privgate.agents.site.agent import Site
from privgate.agents.site.attesting import commitment
from privgate.agents.site.blind_steps import BlindSteps
from privgate.agents.site.datasets import SiteDataset, SiteDatasets
from tests.support.consortium import ORIGIN, SCHEMA, START, UNIT, Carrier, Party, rows_of

REQUEST: Mapping[str, Any] = {
    "kind": "he.blind-logistic",
    "purpose": "research",
    "rows": 100,
    "outcome": "ill",
    "predictors": ["age", "dose"],
    "epochs": 3,
    "rate": "4",
}


@dataclass
class _Thread:
    """A child in this process."""

    channel: Pipe


class InlineSteps(BlindSteps):
    """The steps of a site in this process."""

    @contextmanager
    def _child(self, step: Step, dataset: SiteDataset, shape: BlindShape) -> Any:  # type: ignore[override]
        (ours, their_end), (theirs, our_end) = os.pipe(), os.pipe()
        channel, their = Pipe(ours, our_end), Pipe(theirs, their_end)
        request = {"role": ROLE, "step": step.value}
        thread = threading.Thread(target=site_runner.main, args=(their, request))
        thread.start()
        try:
            yield _Thread(channel)
        finally:
            channel.close()
            thread.join()
            their.close()


class BlindCarrier(Carrier):
    """An honest gateway of one blind training: it makes each gradient as soon as weights come."""

    def __init__(self, order: BlindOrder, signer: Ed25519Signer, site: Party) -> None:
        super().__init__(order.signed(signer), order.job)
        self.order, self.signer, self.site = order, signer, site
        self.worker: BlindWorker | None = None

    def post(self, who: PartyId, place: Place, data: bytes) -> None:
        super().post(who, place, data)
        if place.kind is DocumentKind.WEIGHTS:
            self.kept[Place(self.job, DocumentKind.GRADIENT, place.number)] = self.gradient(data)
        self.ended = self.ended or place.kind in (DocumentKind.FINAL, DocumentKind.REFUSAL)

    def gradient(self, weights: bytes) -> bytes:
        """The signed gradient at some weights."""
        cut = Parcel.from_bytes(weights)
        said = BlindWeights.opened(cut.document, [self.site.who.identity])
        body = self.computed(said.number, cut.attachment)
        made = BlindGradient(
            job=self.job,
            order=self.order.digest,
            number=said.number,
            weights=said.digest,
            gradient=Digest.of(body),
        )
        return Parcel(made.signed(self.signer), body).to_bytes()

    def computed(self, number: int, weights: bytes) -> bytes:
        """What the worker computes; others derive."""
        if self.worker is None:
            data = self.kept[Place(self.job, DocumentKind.DATA)]
            _, keys, rows = read_data(self.order, data, self.site.who.identity)
            shape = BlindPlan.from_json(self.order.plan).shape
            self.worker = BlindWorker(BlindRecipe(rows=shape.rows, features=shape.features, epochs=1), keys, rows)
        return self.worker.gradient(weights)


class Outsourcing:
    """A site with made-up patients, a pinned gateway, and rules that allow blind training.

    Args:
        folder: Where home and file lie.
        count: How many patients.
        table: Columns by name and their schema, in place of age, dose and illness.
        steps: Where the site's steps are made.
    """

    def __init__(
        self,
        folder: Path,
        count: int = 80,
        table: tuple[Mapping[str, Sequence[Any]], TableSchema] | None = None,
        steps: BlindSteps | None = None,
    ) -> None:
        self.columns, self.schema = table or (columns_of(rows_of(5, count)), SCHEMA)
        self.steps = steps or InlineSteps()
        self.clock, self.signer, self.job = ManualClock(START), Ed25519Signer(os.urandom(32)), JobId.new(os.urandom)
        path, key = folder / "hospital", KeyFile(SecretBytes(os.urandom(32)))
        who = Home.create(path, PartyKind.SITE, Slug("hospital"), key, os.urandom)
        self.site = Party(
            path, key, who, PartyId.new(os.urandom), PopulationId.new(os.urandom), DatasetId.new(os.urandom)
        )
        self.file = folder / "hospital.csv"
        lines = [",".join(str(value).lower() for value in row) for row in zip(*self.columns.values(), strict=True)]
        self.file.write_text("\n".join([",".join(self.columns), *lines]) + "\n", encoding="utf-8")
        assert self.site.dataset is not None
        assert self.site.population is not None
        known = SiteDatasets(path)
        known.declare(
            SiteDataset(
                dataset=self.site.dataset,
                population=self.site.population,
                file=self.file,
                format=UploadFormat.of("csv"),
                schema=self.schema,
                unit=UNIT,
            )
        )
        note = NoteKey(ORIGIN, Ed25519Signer(os.urandom(32)).public_key, KeyKind.ED25519)
        trust = TrustFile(
            origin=ORIGIN, tenant=TenantId.new(os.urandom), log_keys=(note,), certificate_keys=(self.signer.public_key,)
        )
        with self.site.home(self.clock) as home:
            home.trust_gateway(trust)
            home.enrol(Enrolment(party=self.site.party, url="https://127.0.0.1:1", authority="", certificate=""))
            home.allow(Rules(kinds=KINDS))
            known.note_rows(self.site.dataset, commitment(known.get(self.site.dataset), home.commitment_key))

    def order(self, request: Mapping[str, Any] = REQUEST, *, allowed: bool = True, **changed: Any) -> BlindOrder:
        """An honest order, with some members changed, and allowed at the site."""
        spec = complete_blind({**request, "dataset": str(self.site.dataset)}, self.schema)
        assert self.site.dataset is not None
        assert self.site.population is not None
        order = BlindOrder(
            job=self.job,
            gateway=ORIGIN,
            spec=spec.to_json(),
            spec_digest=digest_of("job-request/v1", spec.to_json()),
            plan=spec.plan(self.schema).to_json(),
            profile=PROFILE.name,
            profile_digest=PROFILE.digest,
            site=Member(party=self.site.party, who=self.site.who),
            dataset=self.site.dataset,
            population=self.site.population,
            decision=Digest.of(b"decision"),
            approvals=(),
            round_seconds=spec.round_seconds,
        )
        order = replace(order, **changed)
        if allowed:
            with self.site.home(self.clock) as home:
                home.allow_request(order.spec_digest)
        return order

    def turn(self, carrier: Carrier, point: Point = no_point) -> None:
        """One life of the site's agent: it polls once, and ends."""
        with self.site.home(self.clock, point) as home:
            channel, told = carrier.channel(self.site.party), self.site.told.append
            known = SiteDatasets(self.site.path)
            Site(home, channel, self.clock, told, known, steps=self.steps).poll()

    def why(self) -> str | None:
        """Why the site refused, by its own log."""
        with self.site.home(self.clock) as home:
            why = home.log.history.of(self.job).why
            return None if why is None else why.value

    def plain(self, order: BlindOrder) -> Floats:
        """The weights of training in the clear."""
        plan = BlindPlan.from_json(order.plan)
        return plain_weights(plan, self.columns)


def columns_of(rows: Sequence[tuple[int, float, bool]]) -> dict[str, list[Any]]:
    """Made-up patients by column."""
    return {name: [row[place] for row in rows] for place, name in enumerate(("age", "dose", "ill"))}


def plain_weights(plan: BlindPlan, columns: Mapping[str, Sequence[Any]]) -> Floats:
    """What training in the clear gives for such rows."""
    encoded = encode_columns(RowEncoder(plan.features, plan.schema), columns)
    cases = Cases.of(plan.design, UnitTable.of_records(encoded), per_row=True)
    shape = plan.shape
    recipe = BlindRecipe(
        rows=shape.rows, features=shape.features, epochs=shape.epochs, rate=shape.rate, decay=shape.decay
    )
    return np.asarray(dry_run(recipe, cases.rows, cases.outcomes).weights)
