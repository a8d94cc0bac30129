"""The question of a client: made in a confined child, judged from a stream, evaluated, read by its client alone."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from kernel.ids import DatasetId, JobId, ReleaseId, Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.confined import Confined, FailedTaskError
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.inference import Layer, Scored, Shape
from privacy.homomorphic.inferences.judging import JudgedQuestion
from privacy.homomorphic.inferences.question import Asked, Question, ask_of
from privacy.homomorphic.inferences.spec import InferenceSpec, complete_inference, is_inference
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.tenseal_backend.approximate import OwnKeys
from privacy.homomorphic.tenseal_backend.inference import answers as read_answers
from privacy.homomorphic.tenseal_backend.inference import ask, asking, infer
from privacy.sealing.secret import SecretBytes

JOB, OTHER = JobId("job_" + "a" * 26), JobId("job_" + "b" * 26)
DATASET, RELEASE = DatasetId("dst_" + "a" * 26), ReleaseId("rel_" + "a" * 26)
CERTIFICATE = Digest.of(b"certificate")
SHAPE = Shape(features=3, outputs=1, layers=1)
SQUARE = Shape(features=2, outputs=2, layers=2)
BODY = {"kind": "he.infer", "release": RELEASE, "purpose": "research"}


def spec_of(shape: Shape = SHAPE, batches: int = 1) -> InferenceSpec:
    """A request in its final form."""
    return complete_inference(BODY | {"batches": batches}, DATASET, CERTIFICATE, shape)


def asked(spec: InferenceSpec, rows: list[list[list[float]]]) -> tuple[SecretBytes, Asked]:
    """A client's secret key, and what he sends."""
    keys = asking(spec.shape)
    ciphertexts = b"".join(ask(spec.shape, keys, batch) for batch in rows)
    return keys.secret, ask_of(JOB, spec, keys.evaluation, ciphertexts, os.urandom)


def judged(data: bytes, spec: InferenceSpec, job: JobId = JOB) -> Question:
    """Read a body to its end, in small pieces."""
    stream = JudgedQuestion(io.BytesIO(data), job, spec)
    found = b"".join(iter(lambda: stream.read(100_000), b""))
    assert found == data
    assert stream.question is not None
    return stream.question


@pytest.fixture(scope="module")
def sent() -> tuple[SecretBytes, Asked]:
    """A good question about two rows."""
    return asked(spec_of(), [[[0.5, -1.0, 0.25], [1.0, 1.0, 1.0]]])


def test_a_request_is_completed_and_read_strictly() -> None:
    """What follows from the model is filled in; the final form comes back; nothing else is read."""
    spec = spec_of(SQUARE, 2)
    assert InferenceSpec.from_json(spec.to_json()) == spec
    assert (spec.profile.name, spec.most_rows) == ("ckks-8192-square", 8192)
    assert is_inference(spec.to_json())
    assert not is_inference({"kind": "glm"})
    assert not is_inference([])
    for wrong in (
        {"batches": 0},
        {"batches": "1"},
        {"batches": 65},
        {"rows": 3},
        {"kind": "glm"},
        {"v": 2},
        {"v": True},
    ):
        with pytest.raises(InvalidError):
            complete_inference(BODY | wrong, DATASET, CERTIFICATE, SHAPE)
    with pytest.raises(InvalidError, match="depth"):
        InferenceSpec.from_json(spec.to_json() | {"profile": "ckks-4096-linear"})
    with pytest.raises(TooLargeError):
        spec_of(Shape(features=512, outputs=1, layers=2))


def test_a_client_reads_what_he_asked_and_nobody_else(sent: tuple[SecretBytes, Asked]) -> None:
    """Two batches, of different length; another key reads noise."""
    model = Scored((Layer(((0.5, -0.25, 2.0),), (0.125,)),))
    spec, source = spec_of(batches=2), random.Random(5)
    batches = [[[source.uniform(-1, 1) for _ in range(3)] for _ in range(count)] for count in (2048, 3)]
    secret, question = asked(spec, batches)
    judged(question.parcel, spec)
    ciphertexts = Parcel.from_bytes(question.parcel).attachment
    pieces = [ciphertexts[: SHAPE.request_bytes], ciphertexts[SHAPE.request_bytes :]]
    answers = [infer(model, b"", piece) for piece in pieces]
    found = Confined().scores(SHAPE, secret, answers)
    for at, rows in ((0, batches[0]), (2048, batches[1])):
        assert max(abs(found[at + place][0] - model.of(row)[0]) for place, row in enumerate(rows)) < 1e-4
    noise = read_answers(SHAPE, OwnKeys(sent[0], b""), answers[0], 3)
    assert max(abs(noise[place][0] - model.of(row)[0]) for place, row in enumerate(batches[0][:3])) > 1
    with pytest.raises(CorruptError):
        read_answers(SHAPE, OwnKeys(secret, b""), answers[0][:-1], 3)


def test_a_good_question_is_read_to_its_end(sent: tuple[SecretBytes, Asked]) -> None:
    """Its document names what follows; its signature is that of the key that it names."""
    question = judged(sent[1].parcel, spec_of())
    assert question == sent[1].question
    assert question.digest == sent[1].question.digest


def _resigned(sent: Asked, **changes: object) -> bytes:
    """The same bodies under another document, well signed."""
    signer = Ed25519Signer.generate(os.urandom)
    question = replace(sent.question, **{"client": Slug(signer.public_key.raw.hex()), **changes})
    return Parcel(question.signed(signer), Parcel.from_bytes(sent.parcel).attachment).to_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"job": OTHER}, {"request": CERTIFICATE}, {"certificate": Digest.of(b"other")}, {"batches": 2},
        {"profile": Slug("ckks-8192-square")}, {"profile_digest": CERTIFICATE}, {"keys": CERTIFICATE},
        {"ciphertexts": CERTIFICATE}, {"client": Slug("a" * 64)},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_a_question_of_something_else_is_refused(sent: tuple[SecretBytes, Asked], changes: dict[str, object]) -> None:
    """Another job, request, model, profile, other bodies, another signer."""
    with pytest.raises(InvalidError):
        judged(_resigned(sent[1], **changes), spec_of())


def _with_secret_key(sent: tuple[SecretBytes, Asked]) -> bytes:
    """A client who mistakes his secret key for a ciphertext: it lies inside an object of the right length."""
    secret, question = sent
    body = bytearray(question.parcel)
    key = secret.reveal()[: SHAPE.request_bytes // SHAPE.features - 200]
    at = len(body) - SHAPE.request_bytes + 150
    body[at : at + len(key)] = key
    return bytes(body)


ONE = SHAPE.request_bytes // 3
MUTATIONS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[:-1],
    "longer": lambda data: data + b"\x00",
    "another magic": lambda data: b"P" + data[1:],
    "no document": lambda data: data[:19] + b"\x00\x00\x00\x00" + data[23:],
    "a document without end": lambda data: data[:19] + b"\xff\xff\xff\xff" + data[23:],
    "a changed document": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "a changed coefficient": lambda data: data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:],
    "swapped ciphertexts": lambda data: (
        data[: -SHAPE.request_bytes] + data[-ONE:] + data[-SHAPE.request_bytes : -ONE]
    ),
    "one that hides nothing": lambda data: data[:-64] + bytes(64),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_body_that_is_not_whole_is_refused(sent: tuple[SecretBytes, Asked], name: str) -> None:
    """Whatever is wrong with it, one kind of error, and no byte of it in the sentence."""
    with pytest.raises(InvalidError):
        judged(MUTATIONS[name](sent[1].parcel), spec_of())


def test_a_secret_key_is_told_of(sent: tuple[SecretBytes, Asked]) -> None:
    """Wherever it lies: its owner has to throw it away."""
    with pytest.raises(InvalidError, match="secret key"):
        judged(_with_secret_key(sent), spec_of())


def test_mutants_never_pass_and_never_raise_anything_else(sent: tuple[SecretBytes, Asked]) -> None:
    """Bytes flipped, cut, doubled and zeroed at random places, most of them in the document and the first object."""
    source, data, spec = random.Random(7), sent[1].parcel, spec_of()
    for _ in range(400):
        body = bytearray(data)
        at = source.randrange(2000) if source.random() < 0.8 else source.randrange(len(body))
        match source.randrange(4):
            case 0:
                body[at] ^= 1 << source.randrange(8)
            case 1:
                del body[at : at + source.randrange(1, 50)]
            case 2:
                body[at:at] = body[at : at + source.randrange(1, 50)]
            case _:
                body[at : at + 20] = bytes(20)
        if bytes(body) == data:
            continue
        with pytest.raises(InvalidError):
            judged(bytes(body), spec)


def test_a_model_is_halved_until_its_scores_have_room() -> None:
    """A sum of many weights goes beyond the modulus: halved, the client doubles again; what is too large is refused."""
    large = Layer(((40.0, 40.0, -60.0),), (3.0,))
    model, halvings = Scored.fitting((large,))
    assert halvings == 2
    row = [0.5, -1.0, 0.25]
    assert model.of(row)[0] * 2**halvings == pytest.approx(large.of(row)[0])
    small = Layer(((0.5, 0.5, 0.5),), (0.0,))
    assert Scored.fitting((small,)) == (Scored((small,)), 0)
    for layers in (
        (),
        (small,) * 3,
        (Layer(((2.0**40,),), (0.0,)),),
        (Layer(((2.0**21,),), (0.0,)), Layer(((1.0,),), (0.0,))),
    ):
        with pytest.raises(PrivgateError):
            Scored.fitting(layers)


def test_products_have_keys_and_others_none() -> None:
    """As long as the shape says; a model of one layer is asked without any."""
    spec = spec_of(SQUARE)
    secret, evaluation, ciphertexts = Confined().question(SQUARE, [[[0.5, -0.5]]])
    question = ask_of(JOB, spec, evaluation, ciphertexts, os.urandom)
    assert profile_of(spec.profile.name).name == "ckks-8192-square"
    judged(question.parcel, spec)
    attached = Parcel.from_bytes(question.parcel).attachment
    assert len(attached) == SQUARE.key_bytes + SQUARE.request_bytes
    hostile = attached[:1000] + b"\xff" * 64 + attached[1064:]
    forged = ask_of(JOB, spec, hostile[: SQUARE.key_bytes], hostile[SQUARE.key_bytes :], os.urandom)
    judged(forged.parcel, spec)  # coefficients are SEAL's to judge, in the child
    model = Scored((Layer(((0.5, 0.25), (1.0, -1.0)), (0.1, 0.2)), Layer(((1.0, 0.5), (-0.5, 0.25)), (0.0, 0.3))))
    with pytest.raises(FailedTaskError):
        Confined().infer(model, hostile[: SQUARE.key_bytes], hostile[SQUARE.key_bytes :])
    answer = infer(model, attached[: SQUARE.key_bytes], attached[SQUARE.key_bytes :])
    (found,) = read_answers(SQUARE, OwnKeys(secret, b""), answer, 1)
    assert max(abs(a - b) for a, b in zip(found, model.of([0.5, -0.5]), strict=True)) < 1e-3
