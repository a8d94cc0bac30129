"""An ONNX file read back: is it what its certificate says? Needs onnx and numpy.

Rules
-----
1. A file is data: nothing in it is run, no path in it is followed, sizes are looked at first.
2. Everything in the file is compared: it is written again from its own parts, and differs in no byte.
3. What cannot be known is said: with further steps the weights are no longer the certified ones.

Form: docs/formats/onnx.md, "What a reader demands".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from audit.trust import TrustFile
from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, TooLargeError
from kernel.signing import Envelope
from privacy.graph.check import check
from privacy.graph.onnx_writer import MARK
from privacy.graph.quantised import Int8Weight
from privacy.graph.spec import ModelGraph
from privacy.graph.to_onnx import StoredWeights
from privacy.graph.weights import pack_weights
from privacy.jobs.features import FeatureSpec
from privacy.release.certificate import PrivacyCertificate
from privacy.release.model_card import model_card
from privacy.schema import TableSchema
from privgate.derive.lineage import Lineage, stored_digest
from privgate.derive.papers import Papers
from privgate.encoding import Row
from privgate.export.file import FORMAT, KEYS, content_of
from privgate.export.rows import onnx_inputs
from privgate.export.writing import Scorer
from privgate.sdk.believing import believe, believe_papers

if TYPE_CHECKING:
    from audit.receipt import ReceiptedEntry

LIMIT = 128 * 2**20
TEXT_LIMIT = 16 * 2**20
_KINDS: Final[Mapping[int, np.dtype[Any]]] = {
    TensorProto.FLOAT: np.dtype("<f4"),
    TensorProto.INT8: np.dtype("int8"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRelease:
    """A verified file.

    Attributes:
        certificate: Of the release that it is or was made from.
        entry: The log entry that published it.
        lineage: What was done since, by its maker's word.
        exact: Whether the file holds the certified weights themselves.
        card: The release's model card.
        scorer: What the file computes.
    """

    certificate: PrivacyCertificate
    entry: ReceiptedEntry = field(repr=False)
    lineage: Lineage
    exact: bool
    card: str = field(repr=False)
    scorer: Scorer = field(repr=False)

    def inputs(self, rows: Iterable[Row]) -> dict[str, NDArray[Any]]:
        """Rows as the SDK takes them, as the arrays that the file reads."""
        return onnx_inputs(self.scorer.features, self.scorer.schema, rows)


def open_onnx(path: str | Path, trust: TrustFile | str | Path) -> OnnxRelease:
    """Read and verify a file that `export_onnx` wrote.

    Args:
        path: The file.
        trust: Whose signatures you believe: a trust file that reached you by another way than this file did.

    Raises:
        CorruptError: It is not what it says, or nobody whom you trust signed it; the field names the part.
        TooLargeError: It is larger than any that is written.
    """
    data = Path(path).read_bytes()
    pinned = trust if isinstance(trust, TrustFile) else TrustFile.from_bytes(Path(trust).read_bytes())
    try:
        return _opened(data, pinned)
    except InvalidError as error:
        raise CorruptError(f"the file does not hold together: {error.message}", field=error.field) from None


def _opened(data: bytes, trust: TrustFile) -> OnnxRelease:
    model = _parsed(data)
    texts = _texts(model)
    lineage = Lineage.from_bytes(texts["privgate.lineage"].encode())
    papers = Papers(
        certificate=texts["privgate.certificate"].encode(),
        receipt=texts["privgate.receipt"].encode(),
        card=texts["privgate.model_card"].encode(),
    )
    scorer = _scorer(texts, model)
    believed = believe_papers(lineage.release, certificate=papers.certificate, receipt=papers.receipt, trust=trust)
    _require(papers.card.decode() == model_card(Envelope.from_bytes(papers.certificate)), "privgate.model_card")
    _require_lineage(lineage, believed.priced, papers, scorer)
    _require(content_of(scorer, papers, lineage) == data, "graph")
    if not lineage.derived:
        artifact = pack_weights(scorer.graph.graph, scorer.weights.floats())
        believe(lineage.release, certificate=papers.certificate, artifact=artifact, receipt=papers.receipt, trust=trust)
        _require(scorer.graph.graph.digest == believed.priced.predicate.model.graph, "privgate.graph")
    return OnnxRelease(
        certificate=believed.priced,
        entry=believed.entry,
        lineage=lineage,
        exact=not lineage.derived,
        card=papers.card.decode(),
        scorer=scorer,
    )


def _require(holds: bool, part: str) -> None:
    if not holds:
        raise CorruptError(
            f"`{part}` is not what the rest of the file says: it was changed, or another version wrote it", field=part
        )


def _require_lineage(lineage: Lineage, certificate: PrivacyCertificate, papers: Papers, scorer: Scorer) -> None:
    told = (lineage.certificate, lineage.artifact, lineage.graph)
    model = certificate.predicate.model
    _require(told == (Digest.of(papers.certificate), certificate.artifact, model.graph), "privgate.lineage")
    taken = [step["step"] for step in lineage.steps]
    rounded = any(isinstance(value, Int8Weight) for value in scorer.weights.values.values())
    _require(taken[-1:] == ["onnx"] and ("int8" in taken) == rounded, "privgate.lineage")
    _require(lineage.result == stored_digest(scorer.weights.described()), "privgate.lineage")
    _require(scorer.features.digest == model.features, "privgate.features")


def _parsed(data: bytes) -> ModelProto:
    if len(data) > LIMIT:
        raise TooLargeError(f"a model file has at most {LIMIT} bytes", field="path")
    try:
        found: ModelProto = ModelProto.FromString(data)
    except (DecodeError, ValueError, RecursionError):
        raise CorruptError("not an ONNX file", field="path") from None
    return found


def _texts(model: ModelProto) -> dict[str, str]:
    if tuple(prop.key for prop in model.metadata_props) != KEYS or model.metadata_props[0].value != FORMAT:
        raise CorruptError("this ONNX file was not exported from a release, or by another version", field="metadata")
    texts = {prop.key: prop.value for prop in model.metadata_props}
    # The parser hands out text that is not UTF-8 as bytes.
    if not all(isinstance(text, str) for text in texts.values()):
        raise CorruptError("a text in the file is not UTF-8", field="metadata")
    return texts


def _scorer(texts: Mapping[str, str], model: ModelProto) -> Scorer:
    graph = check(ModelGraph.from_bytes(texts["privgate.model"].encode()))
    features = FeatureSpec.from_json(canonical.decode(texts["privgate.features"].encode(), limit=TEXT_LIMIT))
    schema = TableSchema.from_json(canonical.decode(texts["privgate.schema"].encode(), limit=TEXT_LIMIT))
    features.check(schema)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    values: dict[str, Any] = {}
    for weight in graph.graph.weights:
        name = f"{MARK}weights.{weight.name}"
        if name in stored:
            values[weight.name] = _array(stored[name], weight.shape)
        else:
            numbers = _array(stored.get(f"{name}:int8"), weight.shape)
            values[weight.name] = Int8Weight(numbers, _array(stored.get(f"{name}:scale"), weight.shape[:1]))
    names = {node.name: f"{MARK}weights.{node.name}:step" for node in graph.graph.nodes}
    steps = {node: float(_array(stored[name], ())) for node, name in names.items() if name in stored}
    return Scorer(features=features, schema=schema, graph=graph, weights=StoredWeights(values=values, steps=steps))


def _array(tensor: TensorProto | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array that lies whole in the file, of the shape that the graph says."""
    if tensor is None or tuple(tensor.dims) != shape or tensor.data_type not in _KINDS:
        raise CorruptError("a weight of the graph is not in the file in its shape", field="weights")
    kind = _KINDS[tensor.data_type]
    if tensor.external_data or len(tensor.raw_data) != math.prod(shape) * kind.itemsize:
        raise CorruptError("a weight's numbers do not lie whole in the file", field="weights")
    found = np.frombuffer(tensor.raw_data, dtype=kind).reshape(shape)
    if not np.isfinite(found).all():
        raise CorruptError("weights are finite numbers", field="weights")
    return found
