"""A consortium without a gateway process: three hospitals, a key holder, and a carrier that plays the gateway.

The parties are real (homes on disk, real keys, real ciphertexts); `Inline` and `Unconfined` only leave out the sandbox,
so that a test costs no process for each round.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from audit.note import KeyKind, NoteKey
from audit.trust import TrustFile
from kernel.amounts import Delta
from kernel.canonical import Digest, digest_of
from kernel.clock import ManualClock
from kernel.errors import ConflictError
from kernel.events import Parameter
from kernel.ids import DatasetId, JobId, PartyId, PopulationId, Slug, TenantId
from kernel.signing import Ed25519Signer
from privacy.accounting.mechanisms import Gaussian
from privacy.accounting.rdp import job_epsilon
from privacy.glm.families import Family
from privacy.homomorphic.confined import Confined, FailedTaskError
from privacy.homomorphic.documents.order import Aggregation, Order, Outcome
from privacy.homomorphic.documents.parties import Identity, Member, PartyKind, SiteMember
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.packing import unpack
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind, gaussians_after
from privacy.homomorphic.requests.questions import question_of
from privacy.homomorphic.site import runner as site_runner
from privacy.homomorphic.site.assignment import ROLE, SiteAssignment
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privacy.ingest.formats import UploadFormat
from privacy.jobs.features import FeatureSpec
from privacy.sandbox.frames import Channel as Pipe
from privacy.schema import TableSchema
from privacy.sealing.durable import Point, no_point
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
from privacy.units import PrivacyUnit
from privgate.agents.agent import Agent
from privgate.agents.channel import Channel
from privgate.agents.home import Enrolment, Home
from privgate.agents.keyholder.agent import KeyHolder
from privgate.agents.rules import Rules
from privgate.agents.site.agent import Site
from privgate.agents.site.attesting import commitment
from privgate.agents.site.computing import Computing
from privgate.agents.site.datasets import SiteDataset, SiteDatasets

ORIGIN = "gw.example/audit"
START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
PROFILE = profile_of("bfv-2048-wide-public")
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"kind": "numeric", "name": "age", "low": "20", "high": "90"},
            {"kind": "numeric", "name": "dose", "low": "0", "high": "10"},
            {"kind": "boolean", "name": "ill"},
        ]
    }
)
UNIT = PrivacyUnit.from_json({"kind": "record", "noun": "patient"})


def features(outcome: str) -> FeatureSpec:
    """Age as the predictor, and an outcome."""
    label = {"column": "ill", "encoding": "positive", "category": "true"}
    if outcome == "dose":
        label = {"column": "dose", "encoding": "scaled"}
    columns = [{"column": "age", "transform": "scale"}]
    return FeatureSpec.from_json({"columns": columns, "label": label, "v": 1})


def plan_of(family: Family) -> ExactGlm:
    """A model of the family."""
    outcome = "dose" if family is Family.LINEAR else "ill"
    return ExactGlm(family=family, features=features(outcome), schema=SCHEMA)


def spec_of(order: Order) -> dict[str, Any]:
    """The request, in its final form, that an order's plan follows from."""
    return {
        "v": 1,
        "kind": str(order.kind),
        "datasets": [str(site.dataset) for site in order.sites],
        "purpose": "research",
        "key_holder": str(order.key_holder.party),
        "result": order.outcome.value,
        "profile": str(order.profile),
        "round_seconds": order.round_seconds,
        "least_persons": order.sites[0].least_persons,
        **_asked_of(order),
        **_privacy_of(order),
    }


def _asked_of(order: Order) -> dict[str, Any]:
    """What its kind asks, as far as its plan has it."""
    if order.kind not in set(CollectionKind):
        return {}
    asked = question_of(CollectionKind(order.kind), noised=order.outcome is Outcome.NOISED)
    other = {"local_steps", "weights"} if order.plan.get("bounded") == "person" else {"public_size"}
    names = {*asked.FORM, *asked.FORM_AT_TIMES} - other
    missing = {"dropouts": order.dropouts} if "dropouts" in names else {}
    return {name: order.plan[name] for name in names if name in order.plan} | missing


def _privacy_of(order: Order) -> dict[str, Any]:
    """For which epsilon the noise of an order's plan is enough."""
    written = order.plan.get("noise")
    if written is None or order.outcome is not Outcome.NOISED:
        return {}
    noise, delta = SiteNoise.from_json(written), Delta.parse("0.000001")
    count = gaussians_after(CollectionKind(order.kind), order.rounds_at_most)
    use = Gaussian(noise_multiplier=noise.noise_multiplier, count=count)
    epsilon = job_epsilon(use, delta=delta).epsilon
    adds = {"aggregation": noise.aggregation.value} if noise.aggregation is Aggregation.GATEWAY else {}
    by = {"noise_by": noise.by.value} if noise.by_two else {}
    return {"delta": str(delta), "epsilon": str(epsilon), "tolerated": noise.tolerated} | adds | by


def rows_of(seed: int, count: int) -> list[tuple[int, float, bool]]:
    """Made-up patients."""
    draw = np.random.default_rng(seed)
    ages = draw.integers(20, 91, count)
    return [
        (int(age), round(float(draw.uniform(0, 10)), 3), bool(draw.random() < 1 / (1 + np.exp(-(age - 60) / 15))))
        for age in ages
    ]


@dataclass
class Party:
    """One party: where it lives, and what opens its vault."""

    path: Path
    key: KeyFile
    who: Identity
    party: PartyId
    population: PopulationId | None = None
    dataset: DatasetId | None = None
    told: list[str] = field(default_factory=list)

    def home(self, clock: ManualClock, point: Point = no_point) -> Home:
        """Open its home."""
        return Home(self.path, self.key, os.urandom, clock, point)


class Carrier:
    """The gateway of one job as agents see it: documents at places, written once. Honest; tests derive others."""

    def __init__(self, order: bytes, job: JobId) -> None:
        self.job, self.ended = job, False
        self.kept: dict[Place, bytes] = {Place(job, DocumentKind.ORDER): order}

    def work(self, who: PartyId) -> Sequence[JobId]:
        return [] if self.ended else [self.job]

    def fetch(self, who: PartyId, place: Place) -> bytes | None:
        return self.kept.get(place)

    def post(self, who: PartyId, place: Place, data: bytes) -> None:
        if self.kept.setdefault(place, data) != data:
            raise ConflictError("another document is there")

    def channel(self, who: PartyId) -> Channel:
        """What one party sees."""
        return _Seen(self, who)


@dataclass(frozen=True)
class _Seen:
    carrier: Carrier
    who: PartyId

    def work(self) -> Sequence[JobId]:
        return self.carrier.work(self.who)

    def fetch(self, place: Place) -> bytes | None:
        return self.carrier.fetch(self.who, place)

    def post(self, place: Place, data: bytes) -> None:
        self.carrier.post(self.who, place, data)


class Unconfined(Confined):
    """The key holder's tasks in this process; how often something was decrypted is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.decrypted: list[tuple[bytes, ...]] = []

    def make_keys(self, profile: Profile) -> tuple[bytes, SecretBytes]:
        pair = make_keys(profile)
        return pair.public, pair.secret

    def decrypt(self, layout: Layout, secret: SecretBytes, uploads: Sequence[bytes]) -> list[int]:
        total = Sum(layout)
        for body in uploads:
            total.add(body)
        self.decrypted.append(tuple(uploads))
        try:
            return unpack(layout, decrypt(layout, secret, total))
        except Exception as error:
            raise FailedTaskError("failed") from error

    def decrypt_sum(self, layout: Layout, secret: SecretBytes, total: bytes) -> list[int]:
        self.decrypted.append((total,))
        try:
            return unpack(layout, decrypt(layout, secret, Sum.of_body(layout, total)))
        except Exception as error:
            raise FailedTaskError("failed") from error


class Inline(Computing):
    """A site's task in a thread of this process, over the same frames."""

    def _converse(self, assignment: SiteAssignment, key: bytes, size: int) -> tuple[dict[str, Any], bytes]:
        (ours, their_end), (theirs, our_end) = os.pipe(), os.pipe()
        channel, their = Pipe(ours, our_end), Pipe(theirs, their_end)
        thread = threading.Thread(target=site_runner.main, args=(their, {"role": ROLE}))
        thread.start()
        try:
            channel.send({"m": "assignment"}, assignment.to_bytes())
            channel.send({"m": "key"}, key)
            return channel.receive(2**26)
        finally:
            thread.join()
            channel.close()
            their.close()


class Consortium:
    """Three hospitals, or more, and a key holder, who have exchanged their identities."""

    def __init__(self, folder: Path, family: Family = Family.LOGISTIC, counts: Sequence[int] = (60, 45, 80)) -> None:
        self.folder, self.clock = folder, ManualClock(START)
        self.signer = Ed25519Signer(os.urandom(32))
        self.job = JobId.new(os.urandom)
        self.family, self.rows = family, [rows_of(seed, count) for seed, count in enumerate(counts, start=1)]
        self.holder = self._party("holder", PartyKind.KEYHOLDER)
        self.sites = [self._site(number, rows) for number, rows in enumerate(self.rows, start=1)]
        self.trust_everybody()

    @property
    def everybody(self) -> list[Party]:
        return [self.holder, *self.sites]

    def _party(self, name: str, kind: PartyKind) -> Party:
        path, key = self.folder / name, KeyFile(SecretBytes(os.urandom(32)))
        who = Home.create(path, kind, Slug(name), key, os.urandom)
        return Party(path, key, who, PartyId.new(os.urandom))

    def _site(self, number: int, rows: list[tuple[int, float, bool]]) -> Party:
        party = self._party(f"hospital-{number}", PartyKind.SITE)
        party.population, party.dataset = PopulationId.new(os.urandom), DatasetId.new(os.urandom)
        file = self.folder / f"hospital-{number}.csv"
        lines = [f"{age},{dose},{str(ill).lower()}" for age, dose, ill in rows]
        file.write_text("\n".join(["age,dose,ill", *lines]) + "\n", encoding="utf-8")
        declared = SiteDataset(
            dataset=party.dataset,
            population=party.population,
            file=file,
            format=UploadFormat.of("csv"),
            schema=SCHEMA,
            unit=UNIT,
        )
        SiteDatasets(party.path).declare(declared)
        self.attest(party)
        return party

    def attest(self, party: Party) -> None:
        """A site takes note of its file as it is."""
        assert party.dataset is not None
        known = SiteDatasets(party.path)
        with party.home(self.clock) as home:
            known.note_rows(party.dataset, commitment(known.get(party.dataset), home.commitment_key))

    def trust_everybody(self) -> None:
        note = NoteKey(ORIGIN, Ed25519Signer(os.urandom(32)).public_key, KeyKind.ED25519)
        trust = TrustFile(
            origin=ORIGIN,
            tenant=TenantId.new(os.urandom),
            log_keys=(note,),
            certificate_keys=(self.signer.public_key,),
        )
        for one in self.everybody:
            with one.home(self.clock) as home:
                home.trust_gateway(trust)
                home.enrol(Enrolment(party=one.party, url="https://127.0.0.1:1", authority="", certificate=""))
                home.allow(Rules(outcomes=(Outcome.EXACT, Outcome.NOISED), most_rho=Parameter("4")))
                for other in self.everybody:
                    if other is not one:
                        home.trust(other.who)

    def order(self, **changed: Any) -> Order:
        """An honest order, with some members changed."""
        plan = plan_of(self.family)
        order = Order(
            job=self.job,
            gateway=ORIGIN,
            kind=Slug("he.glm"),
            spec={},
            spec_digest=Digest.of(b"spec"),
            plan=plan.to_json(),
            outcome=Outcome.EXACT,
            profile=PROFILE.name,
            profile_digest=PROFILE.digest,
            key_holder=Member(party=self.holder.party, who=self.holder.who),
            sites=tuple(self.member(site) for site in self.sites),
            decisions=(Digest.of(b"decision"),),
            approvals=(Digest.of(b"approval"),),
            rounds_at_most=plan.most_rounds,
            dropouts=0,
            round_seconds=600,
        )
        order = replace(order, **changed)
        spec = changed.get("spec") or spec_of(order)
        return replace(order, spec=spec, spec_digest=digest_of("job-request/v1", spec))

    @staticmethod
    def member(site: Party, least_persons: int = 5) -> SiteMember:
        assert site.dataset is not None
        assert site.population is not None
        return SiteMember(
            member=Member(party=site.party, who=site.who),
            dataset=site.dataset,
            population=site.population,
            weight=1,
            least_persons=least_persons,
        )

    def carrier(self, made: Callable[..., Carrier] = Carrier, **changed: Any) -> Any:
        """A gateway that carries the order."""
        return made(self.order(**changed).signed(self.signer), self.job)

    def agent(self, party: Party, home: Home, carrier: Carrier, confined: Confined | None = None) -> Agent:
        """The agent of a party, in its opened home."""
        channel = carrier.channel(party.party)
        if party is self.holder:
            return KeyHolder(home, channel, self.clock, party.told.append, confined or Unconfined())
        return Site(home, channel, self.clock, party.told.append, SiteDatasets(party.path), Inline())

    def turn(self, party: Party, carrier: Carrier, point: Point = no_point, confined: Confined | None = None) -> None:
        """One life of an agent: its home is opened, it polls once, and ends."""
        with party.home(self.clock, point) as home:
            self.agent(party, home, carrier, confined).poll()

    def play(self, carrier: Carrier, turns: int = 40, confined: Confined | None = None) -> bytes | None:
        """Everybody polls in turn until there is a final, nobody moves, or somebody refused; the final's parcel."""
        final = Place(self.job, DocumentKind.FINAL)
        for _ in range(turns):
            before = dict(carrier.kept)
            for party in self.everybody:
                self.turn(party, carrier, confined=confined)
            if carrier.kept == before:
                break
        return carrier.kept.get(final)

    def refused(self, carrier: Carrier) -> set[str]:
        """The names of those who refused, as the gateway knows it."""
        places = {place.party for place in carrier.kept if place.kind is DocumentKind.REFUSAL}
        return {party.who.name for party in self.everybody if party.party in places}

    def why(self, party: Party) -> str | None:
        """Why a party refused, by its own log."""
        with party.home(self.clock) as home:
            why = home.log.history.of(self.job).why
            return None if why is None else why.value
