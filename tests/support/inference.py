"""A house whose released models may be asked under encryption, and a client who asks them by hand, in this process.

The table is one in which age and sex tell who is ill. `peer` may ask, and may fetch nothing.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from kernel.ids import JobId
from kernel.signing import Envelope
from privacy.graph.templates import Activation, ModelChoice, Template
from privacy.homomorphic.inferences.question import Asked, ask_of
from privacy.homomorphic.inferences.spec import InferenceSpec
from privacy.homomorphic.tenseal_backend.approximate import OwnKeys
from privacy.homomorphic.tenseal_backend.inference import answers, ask, asking
from privacy.jobs.features import FeatureSpec
from privacy.release.inference import InferenceCertificate
from privacy.schema import TableSchema
from privacy.sealing.secret import SecretBytes
from privgate.encoding import RowEncoder
from privgate.models import Model
from tests.support.api import House, done, grant_body, job_body, worker_of
from tests.support.walks import FILES, fetched, granted, released, sealed

ROWS = 2000
ANSWER = "answer.he"
SCHEMA: Mapping[str, Any] = {
    "columns": [
        {"name": "age", "kind": "numeric", "low": "0", "high": "100"},
        {"name": "sex", "kind": "categorical", "categories": ["female", "male"]},
        {"name": "ill", "kind": "boolean"},
    ]
}
FEATURES: Mapping[str, Any] = {
    "v": 1,
    "columns": [{"column": "age", "transform": "scale"}, {"column": "sex", "transform": "one-hot"}],
    "label": {"column": "ill", "encoding": "positive", "category": "true"},
}
RECIPE = {"steps": 20, "expected_batch": 300, "learning_rate": "1"}
PEOPLE: tuple[Mapping[str, Any], ...] = (
    {"age": 71.5, "sex": "male"}, {"age": 12, "sex": "female"}, {"age": 130, "sex": "male"},
)  # fmt: skip
"""The last one's age is beyond its bounds, and counts as the bound."""


def square_network(features: int = 3, hidden: int = 4) -> dict[str, Any]:
    """A perceptron with the square in place of its activation."""
    body = ModelChoice(template=Template.MLP, hidden=(hidden,), activation=Activation.TANH).graph(features).to_json()
    layer, _, score = body["nodes"]
    square = {"name": "square", "op": "multiply", "inputs": ["layer1"] * 2, "weights": [], "attributes": {}}
    return body | {"nodes": [layer, square, score | {"inputs": ["square"]}]}


def rows_of_patients() -> bytes:
    """A table as its owner uploads it."""
    draw, lines = random.Random(11), ["age,sex,ill"]
    for _ in range(ROWS):
        age, male = draw.uniform(0, 100), draw.random() < 0.5
        ill = draw.random() < 1 / (1 + math.exp(-((age - 60) / 10 + 1.5 * male)))
        lines.append(f"{age:.4f},{'male' if male else 'female'},{str(ill).lower()}")
    return ("\n".join(lines) + "\n").encode()


def furnish(of: House, **models: Any) -> None:
    """Seal the table, train and release a model for each name, and let `peer` ask them."""
    sealed(of, rows_of_patients(), schema=SCHEMA, public_size=ROWS, epsilon="20")
    granted(of, "training")
    for name, model in models.items():
        body = job_body(of.ids["dataset"], label=None, epsilon="3", features=FEATURES, recipe=RECIPE, **model)
        of.ids |= {f"{name}-{what}": value for what, value in released(of, body).items()}
    grant = grant_body(of["peer"].principal, of.ids["dataset"], job_kinds=["he.infer"])
    of.ids["grant"] = done(of["owner"].post("/v1/grants", grant), 201)["grant"]


def request_of(of: House, model: str, **changes: Any) -> dict[str, Any]:
    """A request for one batch."""
    body = {"kind": "he.infer", "release": of.ids[f"{model}-release"], "purpose": "research/oncology"}
    return {"spec": body | changes}


def admitted(of: House, model: str, **changes: Any) -> str:
    """A job that waits for its question."""
    job = done(of["peer"].post("/v1/jobs", request_of(of, model, **changes)), 202)
    assert job["state"] == "collecting"
    return str(job["job"])


@dataclass(frozen=True)
class Client:
    """What a client keeps of a question: its secret key, and what he sent."""

    secret: SecretBytes
    asked: Asked
    spec: InferenceSpec

    @classmethod
    def of(cls, house: House, job: str, *batches: Any) -> Client:
        """Read the terms, encode rows, draw keys, encrypt, sign."""
        terms = done(house["peer"].get(f"/v1/jobs/{job}/question"))
        spec = InferenceSpec.from_json(terms["request"])
        assert str(spec.digest) == terms["request_digest"]
        encoder = RowEncoder(FeatureSpec.from_json(terms["features"]), TableSchema.from_json(terms["table"]))
        encoded = [[encoder.encode(row) or [] for row in rows] for rows in batches]
        keys = asking(spec.shape)
        ciphertexts = b"".join(ask(spec.shape, keys, rows) for rows in encoded)
        return cls(keys.secret, ask_of(JobId(job), spec, keys.evaluation, ciphertexts, os.urandom), spec)

    def read(self, answer: bytes, certificate: InferenceCertificate) -> list[list[float]]:
        """The scores of every slot of every batch."""
        size = self.spec.shape.answer_bytes
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
        factor = 2.0**certificate.predicate.precision.halvings
        own, slots = OwnKeys(self.secret, b""), self.spec.profile.slots
        found = [answers(self.spec.shape, own, piece, slots) for piece in pieces]
        return [[number * factor for number in row] for rows in found for row in rows]


def send(of: House, job: str, data: bytes, who: str = "peer") -> Any:
    """Send a question."""
    headers = {"Content-Type": "application/octet-stream"}
    return of[who].put(f"/v1/jobs/{job}/question", content=data, headers=headers)


def answered(of: House, job: str) -> dict[str, bytes]:
    """Let the worker answer, and fetch what it made."""
    assert worker_of(of).step()
    return fetched_answer(of, job)


def fetched_answer(of: House, job: str) -> dict[str, bytes]:
    """Let the owner let an answer go, and the client fetch it."""
    ended = done(of["peer"].get(f"/v1/jobs/{job}"))
    assert (ended["state"], ended["percent"]) == ("finished", 100), ended
    done(of["owner"].post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
    of.settle()
    path = f"/v1/releases/{ended['release']}/files/"
    files = {name: of["peer"].get(path + name) for name in (*FILES, "artifact")}
    assert all(file.status_code == 200 for file in files.values())
    return {(ANSWER if name == "artifact" else name): bytes(file.content) for name, file in files.items()}


def certificate_in(files: Mapping[str, bytes]) -> InferenceCertificate:
    """The certificate among the files of an answer."""
    return InferenceCertificate.parse(Envelope.from_bytes(files["certificate.json"]).payload)


def in_the_clear(of: House, model: str) -> list[float]:
    """What the model says of `PEOPLE` to the trainer, who may fetch it."""
    files = fetched(of, "model.safetensors", of.ids[f"{model}-release"])
    request = done(of["trainer"].get(f"/v1/jobs/{of.ids[f'{model}-job']}"))["request"]
    scorer = Model.open(files["model.safetensors"], request, TableSchema.from_json(SCHEMA))
    return [outputs[0] for outputs in scorer.outputs(PEOPLE) if outputs is not None]


def require_scores(of: House, model: str, client: Client, files: dict[str, bytes]) -> None:
    """What the client reads is what the model says in the clear, to a few times the profile's expected error."""
    certificate = certificate_in(files)
    precision = certificate.predicate.precision
    error = 10 * 2.0**precision.halvings * float(precision.expected_error.number)
    found = client.read(files[ANSWER], certificate)[: len(PEOPLE)]
    assert [row[0] for row in found] == pytest.approx(in_the_clear(of, model), abs=error)
