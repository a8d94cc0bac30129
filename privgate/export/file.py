"""The file itself: a graph with its papers, and the record that stands beside it. Needs onnx.

Rules
-----
1. Nothing is written over: a file that holds something else is left alone.
2. The record inside and the one beside the file say the same; the one beside names the file's digest too.

Form: docs/formats/onnx.md, "Metadata".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from privacy.graph.to_onnx import StoredWeights
from privgate.derive.lineage import Lineage, PublicRows, stored_digest
from privgate.derive.papers import Papers
from privgate.export.calibrating import steps_for
from privgate.export.writing import Scorer, graph_of, model_of
from privgate.models import Model
from privgate.scoring import arrays_of

FORMAT: Final = "privgate/onnx/v1"
KEYS: Final = (
    "privgate.format",
    "privgate.graph",
    "privgate.model",
    "privgate.features",
    "privgate.schema",
    "privgate.certificate",
    "privgate.receipt",
    "privgate.model_card",
    "privgate.lineage",
)
SUFFIX: Final = ".lineage.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written.

    Attributes:
        path: Where.
        digest: Of its bytes.
        lineage: What was done, to the last step.
        size: How many bytes it has.
    """

    path: Path
    digest: Digest
    lineage: Lineage
    size: int

    @property
    def lineage_path(self) -> Path:
        """Where the record stands."""
        return self.path.with_name(self.path.name + SUFFIX)


def write_onnx(
    path: str | Path,
    model: Model,
    papers: Papers,
    lineage: Lineage,
    *,
    int8: bool = False,
    calibrate: Sequence[Mapping[str, Any]] | None = None,
    origin: str = "public",
) -> Exported:
    """Write a model as an ONNX file, and its record beside it.

    Args:
        path: The file; it must not hold something else.
        model: What to write.
        papers: Of the release that it is or was made from.
        lineage: What was done so far.
        int8: Round the weights of layers to 8 bits.
        calibrate: With `int8`: rows that fix the steps of layers' inputs; without any each row is measured.
        origin: Where these rows come from: public, dummy or dp-synthetic.

    Raises:
        ConflictError: The file holds something else.
        InvalidError: Rows to calibrate with without `int8`, or none that can be scored.
    """
    weights: StoredWeights = StoredWeights(values=arrays_of(model.graph, model.weights))
    if calibrate is not None and not int8:
        raise InvalidError("`calibrate` belongs to `int8=True`: nothing else is calibrated", field="calibrate")
    if int8:
        steps: dict[str, float] = {}
        read: dict[str, Any] = {"inputs": "row"}
        if calibrate is not None:
            steps = steps_for(model, calibrate)
            read = {"inputs": "calibrated", "rows": PublicRows.of(calibrate, origin).to_json()}
        weights = StoredWeights.quantised(model.graph, arrays_of(model.graph, model.weights), steps)
        lineage = lineage.then("int8", stored_digest(weights.described()), **read)
    lineage = lineage.then("onnx", stored_digest(weights.described()))
    scorer = Scorer(features=model.spec.features, schema=model.schema, graph=model.graph, weights=weights)
    content = content_of(scorer, papers, lineage)
    exported = Exported(Path(path), Digest.of(content), lineage, len(content))
    _write(exported.path, content)
    _write(exported.lineage_path, lineage.to_bytes(file=exported.digest))
    return exported


def content_of(scorer: Scorer, papers: Papers, lineage: Lineage) -> bytes:
    """The bytes of a file; they follow from the arguments alone."""
    texts = {
        "privgate.format": FORMAT,
        "privgate.graph": scorer.graph.graph.digest,
        "privgate.model": canonical.encode(scorer.graph.graph.to_json()).decode(),
        "privgate.features": canonical.encode(scorer.features.to_json()).decode(),
        "privgate.schema": canonical.encode(scorer.schema.to_json()).decode(),
        "privgate.certificate": papers.certificate.decode(),
        "privgate.receipt": papers.receipt.decode(),
        "privgate.model_card": papers.card.decode(),
        "privgate.lineage": lineage.to_bytes().decode(),
    }
    assert tuple(texts) == KEYS
    content: bytes = model_of(graph_of(scorer), texts).SerializeToString(deterministic=True)
    return content


def _write(path: Path, content: bytes) -> None:
    if path.is_symlink() or path.is_dir() or (path.exists() and path.read_bytes() != content):
        raise ConflictError(f"`{path}` holds something else: choose another name", field="path")
    path.write_bytes(content)
