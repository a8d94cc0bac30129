"""Asking a released model about one's own rows: encrypted here, evaluated there, read here.

Rules
-----
1. Rows and scores never leave this machine in the clear, and neither does the key: it is drawn for one question, in a
   confined child, where the answer is read, too.
2. Everything is kept before it is sent, so that a client who was killed goes on with the same key and the same job.
3. The answer is believed when its certificate is: signed by a pinned key, for this job, this question, this model.
4. Rows that cannot be asked are found before a job is requested; what is refused leaves no job and nothing kept.
5. Nothing is sent for another model, purpose or room than was asked for, whatever request the gateway says it took.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, InvalidError, PrivgateError
from kernel.ids import JobId
from privacy.homomorphic.confined import Confined
from privacy.homomorphic.inferences.question import ask_of
from privacy.homomorphic.inferences.spec import KIND, MOST_BATCHES, InferenceSpec
from privacy.jobs.features import FeatureSpec
from privacy.release.artifacts import artifact_problems
from privacy.release.inference import InferenceCertificate
from privacy.schema import TableSchema
from privgate.client.errors import GatewayError, UnavailableError
from privgate.client.http import RETRIES
from privgate.encoding import Row, rows_of
from privgate.sdk.askable import encoded_rows
from privgate.sdk.errors import AnswerHeldError, ExtraMissingError, JobEndedError
from privgate.sdk.jobs import ENDED
from privgate.sdk.questions import Keeping, Kept
from privgate.sdk.scores import Scores
from privgate.sdk.view import View

if TYPE_CHECKING:
    from privgate.sdk.gateway import Gateway
    from privgate.sdk.jobs import Job, Progress
    from privgate.sdk.releases import Release

WAITS = "awaiting-approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionQuote(View):
    """What asking a released model under encryption would take, and who would learn what. Nothing is held by asking.

    Attributes:
        charge: Always 0: the model's people were charged when it was made.
        batches, rows_at_most: How many rows there is room for; how many are used nobody learns.
        bytes_of_the_question, bytes_of_the_answer: What is sent and fetched.
        expected_error: Of a score of size 1.
        computing_seconds: At the gateway, about.
        longest_seconds: How long it waits for the question.
        observers: Who holds the secret key, and what each of them sees.
        terms: The model's features, and the columns that they are of.
        request: In its final form; `request_digest` is what an approval would bind.
    """

    NOUN: ClassVar[str] = "quote"
    kind: str
    charge: str
    rounds: int
    profile: str
    features: int
    outputs: int
    batches: int
    rows_at_most: int
    bytes_of_the_question: int
    bytes_of_the_answer: int
    expected_error: str
    computing_seconds: int
    longest_seconds: int
    observers: tuple[Mapping[str, Any], ...]
    says: str
    terms: Mapping[str, Any] = field(repr=False)
    request: Mapping[str, Any]
    request_digest: str

    @classmethod
    def read(cls, body: Any, **bound: Any) -> Self:
        """Make a quote from the gateway's answer, which holds figures, request and digest."""
        if not isinstance(body, Mapping) or not isinstance(body.get("quote"), Mapping):
            raise CorruptError("the gateway's answer is no quote")
        outer = {"request": body.get("spec"), "request_digest": body.get("request_digest")}
        return super(QuestionQuote, cls).read({**body["quote"], **outer}, **bound)

    def lines(self) -> list[tuple[str, object]]:
        """The quote as one would say it."""
        return [
            ("price", self.says),
            ("room", f"{self.rows_at_most:,} rows in {self.batches} batch(es); how many are used nobody learns"),
            ("encryption", f"{self.profile}: {self.features} numbers a row, {self.outputs} score(s)"),
            ("sent, fetched", f"{self.bytes_of_the_question:,} and {self.bytes_of_the_answer:,} bytes, in one round"),
            ("computing", f"about {self.computing_seconds} s; the question is waited for {self.longest_seconds} s"),
            ("precision", f"a score of size 1 is off by about {self.expected_error}"),
            *((f"{one['observer']} sees", _seen(one)) for one in self.observers),
            ("request", self.request_digest),
        ]


def request_for(release: str, *, purpose: str, batches: int = 1) -> dict[str, Any]:
    """A request in its short form."""
    return {"kind": str(KIND), "release": release, "purpose": purpose, "batches": batches}


def infer(
    gateway: Gateway,
    release: str,
    rows: Iterable[Row],
    *,
    purpose: str,
    keeping: Keeping,
    on_waiting: Callable[[Job], object] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    then: Callable[[Scores], object] | None = None,
) -> Scores:
    """Ask a model, and read its answer.

    Args:
        gateway: Where it is.
        release: The model.
        rows: One's own, as people have them.
        purpose: Why; a grant must cover it.
        keeping: Where the question is kept until its answer is read.
        on_waiting: Called with a job that waits for its owner; by default that is waited for.
        on_progress: Called with each line of the job's progress.
        then: Called with the scores before what was kept is destroyed.
    """
    if importlib.util.find_spec("tenseal") is None:
        raise ExtraMissingError("asking a model under encryption", "he")
    _, given = gateway.pinned, [dict(row) for row in rows_of(rows)]
    if not given:
        raise InvalidError("give at least one row", field="rows")
    kept, wanted = keeping.found(), _wanted(release, purpose, given)
    if kept is None:
        job = _requested(gateway, _request(gateway, release, purpose, given), keeping, wanted)
    else:
        keeping.begin(wanted)
        job = gateway.jobs[str(kept.job)]
    job = job.refresh()  # asked for again under its key, it is told as it stood then
    if job.state == WAITS and on_waiting is not None:
        on_waiting(job)
    terms = _Terms.of(gateway, _admitted(job, keeping, on_progress))
    terms.require(release, purpose, len(given))
    if kept is None:
        kept = _encrypted(terms, given, job, keeping)
        keeping.keep(kept)
    terms.send(gateway, kept)
    ended = _answered(job, keeping, on_progress)
    found = gateway.fetch_release(_let_go(ended.result(), keeping))
    scores = terms.read(kept, found.certificate, found.artifact, len(given))
    if then is not None:
        then(scores)
    keeping.forget()
    return scores


def _wanted(release: str, purpose: str, rows: Sequence[Mapping[str, Any]]) -> Digest:
    """What tells one question from another; it is kept sealed, because it could confirm a guess of the rows."""
    return Digest.of(json.dumps([release, purpose, rows], sort_keys=True, default=str).encode())


def _request(gateway: Gateway, release: str, purpose: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The request for these rows; raise `InvalidError` if the model cannot be asked about them."""
    quoted = gateway.quote_inference(release, purpose=purpose)
    try:
        terms = FeatureSpec.from_json(quoted.terms["features"]), TableSchema.from_json(quoted.terms["table"])
    except (KeyError, TypeError):
        raise CorruptError("the gateway's terms are of another form") from None
    encoded_rows(*terms, rows)
    batches = -(-len(rows) // quoted.rows_at_most)
    if batches > MOST_BATCHES:
        raise InvalidError(f"at most {MOST_BATCHES * quoted.rows_at_most} rows: ask in parts", field="rows")
    return request_for(release, purpose=purpose, batches=batches)


def _requested(gateway: Gateway, request: Mapping[str, Any], keeping: Keeping, wanted: Digest) -> Job:
    """The job; a request that is refused the first time leaves nothing kept."""
    before = keeping.begun()
    key = keeping.begin(wanted)
    try:
        return gateway.submit(request, key=key)
    except UnavailableError:
        raise  # it may have arrived
    except (GatewayError, PrivgateError):
        if not before:
            keeping.forget()
        raise


def _encrypted(terms: _Terms, rows: Sequence[Row], job: Job, keeping: Keeping) -> Kept:
    """The question; a job that cannot get one is cancelled, for it would wait a day."""
    try:
        return terms.asked(rows)
    except InvalidError:
        with contextlib.suppress(GatewayError):
            job.cancel()
        keeping.forget()
        raise


def _admitted(job: Job, keeping: Keeping, on_progress: Callable[[Progress], object] | None) -> Job:
    """The job once its owner has said yes, if that was waited for; what was kept of one that ended is destroyed."""
    after = job.refresh()
    if after.state == WAITS:
        for progress in job.follow():
            if on_progress is not None:
                on_progress(progress)
            if progress.state not in (WAITS, "queued"):
                break
        after = job.refresh()
    if after.state in ENDED - {"finished"}:
        keeping.forget()
        raise JobEndedError(after)
    return after


def _answered(job: Job, keeping: Keeping, on_progress: Callable[[Progress], object] | None) -> Job:
    """The finished job; what was kept of one that ended without an answer is of no use, and is destroyed."""
    try:
        return job.wait(on_progress)
    except JobEndedError:
        keeping.forget()
        raise


def _let_go(release: Release, keeping: Keeping) -> Release:
    """The answer, if its door-keeper let it go.

    If he said no nobody gets it, and what was kept of it is destroyed; if he has not looked yet the question is kept.
    """
    if release.state == "held":
        raise AnswerHeldError(release.release)
    if release.state in ("refused", "recalled"):
        keeping.forget()
        raise ConflictError(f"the answer was {release.state} by its door-keeper: nobody gets it", field="release")
    return release


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a question of one job must be."""

    job: JobId
    spec: InferenceSpec
    features: FeatureSpec
    schema: TableSchema
    received: str | None

    @classmethod
    def of(cls, gateway: Gateway, job: Job) -> _Terms:
        """Ask for them; what the gateway says of itself is held against what was requested."""
        body = gateway.connection.get(f"/v1/jobs/{job.job}/question")
        try:
            spec, received = InferenceSpec.from_json(body["request"]), body["question"]
            features, schema = FeatureSpec.from_json(body["features"]), TableSchema.from_json(body["table"])
        except (KeyError, TypeError):
            raise CorruptError("the gateway's terms are of another form") from None
        if spec.digest != job.request_digest:
            raise CorruptError("the gateway's terms are not those of the request")
        if features.extractor is not None or features.width(schema) != spec.shape.features:
            raise CorruptError("the gateway's terms contradict each other: features of another width")
        return cls(JobId(job.job), spec, features, schema, received)

    def require(self, release: str, purpose: str, rows: int) -> None:
        """Return if that is what was asked for; raise `CorruptError` otherwise."""
        if (self.spec.release, self.spec.purpose) != (release, purpose) or self.spec.most_rows < rows:
            raise CorruptError("the gateway took a request for another model, purpose or number of batches")

    def asked(self, rows: Sequence[Row]) -> Kept:
        """Encode rows as training does, and encrypt them under a key of their own."""
        encoded = encoded_rows(self.features, self.schema, rows)
        slots, own = self.spec.profile.slots, [one for _, one in encoded]
        batches = [own[at * slots : (at + 1) * slots] for at in range(self.spec.batches)]
        # A batch that no row is left for is sent all the same: how many rows there are stays here.
        nothing = [[0.0] * self.spec.shape.features]
        secret, keys, ciphertexts = Confined().question(self.spec.shape, [batch or nothing for batch in batches])
        asked = ask_of(self.job, self.spec, keys, ciphertexts, os.urandom)
        return Kept(self.job, asked, secret, tuple(place for place, _ in encoded))

    def send(self, gateway: Gateway, kept: Kept) -> None:
        """Send it, unless it is there."""
        if self.received is None:
            _sent(gateway, f"/v1/jobs/{self.job}/question", kept.asked.parcel)
        elif self.received != kept.asked.question.digest:
            raise CorruptError("the gateway has another question for this job than was asked")

    def read(self, kept: Kept, certificate: Any, answer: bytes, count: int) -> Scores:
        """Decrypt an answer whose certificate is signed and published; raise `CorruptError` if it is of another."""
        if not isinstance(certificate, InferenceCertificate):
            raise CorruptError("the certificate is not that of an encrypted answer", field="certificate.json")
        stated = certificate.predicate
        told = (stated.job, stated.request, stated.model.release, stated.model.certificate)
        own = (self.job, self.spec.digest, self.spec.release, self.spec.certificate)
        if told != own or stated.document.digest != kept.asked.question.digest:
            raise CorruptError("the certificate is of another question or model", field="certificate.json")
        if stated.model.features != self.features.digest:
            raise CorruptError("the model takes other features than the gateway said", field="certificate.json")
        for problem in artifact_problems(certificate, answer):
            raise CorruptError(problem, field=certificate.artifact_name)
        shape, factor = self.spec.shape, 2.0**stated.precision.halvings
        pieces = [answer[at : at + shape.answer_bytes] for at in range(0, len(answer), shape.answer_bytes)]
        found = Confined().scores(shape, kept.secret, pieces)
        outputs: list[tuple[float, ...] | None] = [None] * count
        for slot, place in enumerate(kept.places):
            outputs[place] = tuple(number * factor for number in found[slot])
        return Scores(
            job=str(self.job),
            release=str(stated.release),
            certificate=certificate,
            outputs=tuple(outputs),
            features=self.features,
            schema=self.schema,
        )


def _sent(gateway: Gateway, path: str, parcel: bytes) -> None:
    """Send it, and again if no answer came: the same question twice is one."""
    for seconds in range(1, RETRIES):
        with contextlib.suppress(UnavailableError):
            gateway.connection.put_stream(path, io.BytesIO(parcel))
            return
        time.sleep(seconds)
    gateway.connection.put_stream(path, io.BytesIO(parcel))


def _seen(observer: Mapping[str, Any]) -> str:
    key = "; holds the secret key" if observer["secret_key"] else ""
    return ", ".join(str(one).replace("-", " ") for one in observer["sees"]) + key
