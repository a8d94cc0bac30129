"""A file that was exported from a real release is believed; one in which anything was changed is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, InvalidError, TooLargeError
from kernel.signing import Envelope
from privacy.release.certificate import PrivacyCertificate
from privacy.schema import TableSchema
from privgate.derive.derived import Derived
from privgate.derive.lineage import Lineage
from privgate.export import open_onnx
from privgate.export.reading import LIMIT
from privgate.models import Model
from tests.support.api import SCHEMA
from tests.support.cycles import Cycle

ROWS = [{"age": age, "dose": dose} for age, dose in ((40, 10), (71, 33.5), (150, -3), ("", 4), ("x", 4), (12, 40))]


@pytest.fixture(scope="module")
def released(cycle: Cycle) -> Derived:
    """The cycle's model, verified."""
    folder = cycle.bundle / "release"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    envelope = Envelope.from_bytes(files["certificate.json"])
    certificate = PrivacyCertificate.open(envelope, cycle.trust.certificate_keys)
    request = training_request()
    model = Model.open(files["model.safetensors"], request, TableSchema.from_json(SCHEMA))
    assert model.spec.features.digest == certificate.predicate.model.features
    return Derived.of(model, certificate, files)


def training_request() -> dict[str, Any]:
    """A request in its final form with the cycle's features and model."""
    from tests.support import declarations as declared

    recipe = {
        "sampling_rate": "0.5", "steps": 40, "clip": "1", "learning_rate": "1", "schedule": "constant", "momentum": "0",
        "weight_decay": "0", "averaging": "none", "clipping": "flat", "engine": "auto",
    }  # fmt: skip
    asked = declared.training("dst_" + "a" * 26, "2")  # type: ignore[arg-type]
    return {
        **asked,
        "v": 1,
        "kind": "training",
        "model": {"template": "logistic"},
        "loss": "logistic",
        "recipe": recipe,
    }


@pytest.fixture(scope="module")
def exported(released: Derived, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a file."""
    return released.export_onnx(tmp_path_factory.mktemp("onnx") / "model.onnx").path


def test_the_file_is_what_the_certificate_names(cycle: Cycle, released: Derived, exported: Path) -> None:
    """Certificate, receipt and card are in it, and its weights packed again are the certified artefact."""
    found = open_onnx(exported, cycle.trust)
    assert found.exact
    assert found.certificate.artifact == Digest.of((cycle.bundle / "release" / "model.safetensors").read_bytes())
    assert found.entry.payload.type == "release:published"
    assert found.card == (cycle.bundle / "release" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert found.lineage.steps == ({"step": "onnx"},)
    session = onnxruntime.InferenceSession(exported)
    said = session.run(["probability"], found.inputs(ROWS))[0]
    wanted = [np.nan if p is None else p for p in released.model.probabilities(ROWS)]
    np.testing.assert_allclose(said, wanted, rtol=1e-5)


def test_the_record_stands_beside_the_file(exported: Path) -> None:
    """With the file's own digest, and the sentence that tells what carries over and what does not."""
    beside = exported.with_name(exported.name + ".lineage.json").read_bytes()
    assert json.loads(beside)["file"] == Digest.of(exported.read_bytes())
    assert "post-processing" in json.loads(beside)["says"][0]
    assert Lineage.from_bytes(beside).steps == ({"step": "onnx"},)


def test_nothing_is_written_over(released: Derived, exported: Path, tmp_path: Path) -> None:
    """The same file may be written again; another content is left alone."""
    released.export_onnx(exported)
    other = tmp_path / "mine.onnx"
    other.write_text("mine")
    with pytest.raises(ConflictError):
        released.export_onnx(other)
    assert other.read_text() == "mine"


def test_a_model_that_was_made_smaller_says_how(cycle: Cycle, released: Derived, tmp_path: Path) -> None:
    """Still under the certificate, no longer the certified weights."""
    public = [{"age": age, "dose": age / 2} for age in range(20, 60)]
    small = released.pruned("0.5").export_onnx(tmp_path / "small.onnx", int8=True, calibrate=public, origin="public")
    found = open_onnx(small.path, cycle.trust)
    assert not found.exact
    prune, int8, last = found.lineage.steps
    assert (prune["step"], prune["share"], prune["kept"]) == ("prune", "0.5", 1)
    assert int8["rows"] == {"origin": "public", "count": 40, "digest": int8["rows"]["digest"]}
    assert last == {"step": "onnx"}
    assert found.certificate == open_onnx(released.export_onnx(tmp_path / "whole.onnx").path, cycle.trust).certificate


def changed(exported: Path, change: Callable[[onnx.ModelProto], None]) -> bytes:
    """The file with one thing changed."""
    model = onnx.load(exported)
    change(model)
    return bytes(model.SerializeToString(deterministic=True))


def text(model: onnx.ModelProto, key: str) -> Any:
    """One of the texts."""
    return next(prop for prop in model.metadata_props if prop.key == f"privgate.{key}")


def weight(model: onnx.ModelProto) -> Any:
    """The layer's weights."""
    return next(tensor for tensor in model.graph.initializer if tensor.name.endswith("weights.score.weight"))


def replaced(key: str, old: str, new: str) -> Callable[[onnx.ModelProto], None]:
    """Another text in the metadata."""

    def change(model: onnx.ModelProto) -> None:
        found = text(model, key)
        assert old in found.value
        found.value = found.value.replace(old, new, 1)

    return change


def other_weights(model: onnx.ModelProto) -> None:
    """A weight moved a little."""
    tensor = weight(model)
    tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * np.float32(1.001)).tobytes()


def nothing_finite(model: onnx.ModelProto) -> None:
    """A weight that is no number."""
    weight(model).raw_data = np.full(2, np.nan, np.float32).tobytes()


def elsewhere(model: onnx.ModelProto) -> None:
    """A weight that lies in another file."""
    tensor = weight(model)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def turned(model: onnx.ModelProto) -> None:
    """The score's sign turned by one node more."""
    node = next(node for node in model.graph.node if node.op_type == "Gemm")
    node.attribute.append(onnx.helper.make_attribute("alpha", -1.0))


CHANGES: dict[str, Callable[[onnx.ModelProto], None]] = {
    "weights": other_weights,
    "not finite": nothing_finite,
    "external data": elsewhere,
    "a node": turned,
    "the card": replaced("model_card", "#", "# Safe for everybody"),
    "the certificate": replaced("certificate", "a", "b"),
    "the receipt": replaced("receipt", "a", "b"),
    "the features": replaced("features", '"age"', '"dose"'),
    "the schema": replaced("schema", '"high":"', '"high":"9'),
    "the graph": replaced("model", '"score"', '"other"'),
    "the lineage": replaced("lineage", '"step":"onnx"', '"step":"prune"'),
    "a step more": replaced("lineage", '{"step":"onnx"}', '{"inputs":"row","step":"int8"},{"step":"onnx"}'),
    "no step": replaced("lineage", '{"step":"onnx"}', ""),
    "a word of the lineage": replaced("lineage", "post-processing", "magic"),
    "another format": replaced("format", "v1", "v2"),
    "a text more": lambda model: model.metadata_props.add(key="privgate.more", value="x"),
    "a text less": lambda model: model.metadata_props.pop(),
    "a name": lambda model: setattr(model, "producer_name", "another"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_not_believed(cycle: Cycle, exported: Path, tmp_path: Path, name: str) -> None:
    """Whatever was changed, and without a traceback."""
    path = tmp_path / "changed.onnx"
    path.write_bytes(changed(exported, CHANGES[name]))
    with pytest.raises(CorruptError):
        open_onnx(path, cycle.trust)


def test_every_cut_and_other_bytes_are_refused(cycle: Cycle, exported: Path, tmp_path: Path) -> None:
    """A file that broke off, one that is none, and one that is too large."""
    content, path = exported.read_bytes(), tmp_path / "cut.onnx"
    for data in (
        *(content[:end] for end in range(0, len(content), max(1, len(content) // 60))),
        b"no file",
        content + b"\0",
    ):
        path.write_bytes(data)
        with pytest.raises(CorruptError):
            open_onnx(path, cycle.trust)
    with path.open("wb") as file:
        file.truncate(LIMIT + 1)
    with pytest.raises(TooLargeError):
        open_onnx(path, cycle.trust)


@pytest.mark.parametrize("part", range(2))
def test_a_flipped_byte_is_never_more_than_a_refusal(cycle: Cycle, exported: Path, tmp_path: Path, part: int) -> None:
    """Anywhere in the file; some of them make it no file at all."""
    draw, path = np.random.default_rng(part), tmp_path / "flipped.onnx"
    content = exported.read_bytes()
    for place in draw.integers(0, len(content), 30).tolist():
        path.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << int(draw.integers(8)))]) + content[place + 1 :]
        )
        with pytest.raises(CorruptError):
            open_onnx(path, cycle.trust)


def test_whom_nobody_trusts_is_not_believed(cycle: Cycle, exported: Path) -> None:
    """A file is believed for the pinned keys, not for what it says of itself."""
    from dataclasses import replace

    from kernel.signing import Ed25519Signer

    strange = replace(cycle.trust, certificate_keys=(Ed25519Signer(b"\7" * 32).public_key,))
    with pytest.raises(CorruptError):
        open_onnx(exported, strange)


def test_rows_are_calibrated_with_for_eight_bits_only(released: Derived, tmp_path: Path) -> None:
    """And where they come from is one of three words; rows that cannot be scored fix nothing."""
    for wrong in (
        {"calibrate": ROWS},
        {"calibrate": ROWS, "int8": True, "origin": "the ward"},
        {"calibrate": [{"age": "x"}], "int8": True},
    ):
        with pytest.raises(InvalidError):
            released.export_onnx(tmp_path / "no.onnx", **wrong)
    assert not (tmp_path / "no.onnx").exists()
