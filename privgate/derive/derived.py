"""A model after it left: what a release holds, or what was made of it, with its papers and its record.

Usage:
    model = release.fetch().derived()
    small = model.pruned(0.5)
    small.evaluate(public_rows)
    small.export_onnx("small.onnx", int8=True)

Rules
-----
1. Each verb gives a new value; what it was made from stays what it is.
2. Papers and record go with the model into every file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import ConflictError
from privgate.derive.lineage import Lineage, PublicRows
from privgate.derive.papers import Papers
from privgate.encoding import Row
from privgate.models import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.release.certificate import PrivacyCertificate
    from privgate.explain import Explanation
    from privgate.export.file import Exported


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A model with its papers and its record.

    Attributes:
        model: Ready to score rows.
        papers: Of the release that it comes from.
        lineage: What was done since.
    """

    model: Model
    papers: Papers = field(repr=False)
    lineage: Lineage

    @classmethod
    def of(cls, model: Model, certificate: PrivacyCertificate, files: Mapping[str, bytes]) -> Derived:
        """What a release holds, before any step.

        Args:
            model: Opened from the release's artefact.
            certificate: Verified, as the files are.
            files: Of the release, by name.
        """
        papers = Papers.of(files)
        lineage = Lineage(
            release=certificate.predicate.release,
            certificate=Digest.of(papers.certificate),
            artifact=certificate.artifact,
            graph=model.graph.graph.digest,
            result=stored_result(model),
        )
        return cls(model=model, papers=papers, lineage=lineage)

    def predict(self, rows: Iterable[Row], *, threshold: float = 0.5) -> list[Any]:
        """The prediction for each raw row; see `privgate.models.Model.predict`."""
        return self.model.predict(rows, threshold=threshold)

    def evaluate(self, rows: Sequence[Row]) -> dict[str, float]:
        """Accuracy, and of two classes AUC, on labelled rows that you have."""
        return self.model.evaluate(rows)

    def pruned(self, share: float | str | Decimal) -> Derived:
        """The same model with the smallest `share` of its layers' weights at zero.

        Raises:
            InvalidError: The share is not above 0 and below 1, or there is no layer.
        """
        from privgate.derive.pruning import pruned, share_of
        from privgate.scoring import arrays_of

        exact = share_of(share)
        weights, kept = pruned(self.model.graph, arrays_of(self.model.graph, self.model.weights), exact)
        model = self.model.with_weights(self.model.spec, self.model.graph, weights)
        lineage = self.lineage.then("prune", stored_result(model), share=str(exact), kept=kept)
        return replace(self, model=model, lineage=lineage)

    def distilled(self, rows: Sequence[Row], *, model: Any = None, origin: str = "public", **lessons: Any) -> Derived:
        """A smaller model that learned this one's answers on rows that are public.

        Args:
            rows: Raw rows without need of a label: public, made up (`dataset.dummy`), or drawn from a private release.
            model: The student: what `train` takes as `model`; without one the plain model of the label's kind.
            origin: Where the rows come from: `public`, `dummy` or `dp-synthetic`.
            lessons: `steps`, `batch`, `learning_rate`, `seed`.

        Raises:
            InvalidError: The rows cannot be scored, or the student does not fit the features.
            ExtraMissingError: Without torch.
        """
        from privgate.derive.students import teach

        read = PublicRows.of(rows, origin)
        taught, said = teach(self.model, rows, model, lessons)
        graph = taught.graph.graph.digest
        lineage = self.lineage.then("distil", stored_result(taught), graph=graph, rows=read.to_json(), **said)
        return replace(self, model=taught, lineage=lineage)

    def export_onnx(
        self,
        path: str | Path,
        *,
        int8: bool = False,
        calibrate: Sequence[Row] | None = None,
        origin: str = "public",
    ) -> Exported:
        """Write one ONNX file from raw columns to probabilities, with certificate, card and record inside.

        Args:
            path: The file. Its record is written beside it, as `PATH.lineage.json`.
            int8: Round the layers' weights to 8 bits: about a quarter of the size.
            calibrate: With `int8`: public rows that fix how inputs of layers are rounded; else each row is measured.
            origin: Where those rows come from: `public`, `dummy` or `dp-synthetic`.

        Raises:
            ConflictError: The path holds something else.
            ExtraMissingError: Without onnx.
        """
        try:
            from privgate.export.file import write_onnx
        except ImportError:
            from privgate.sdk.errors import ExtraMissingError

            raise ExtraMissingError("writing an ONNX file", "onnx") from None
        return write_onnx(path, self.model, self.papers, self.lineage, int8=int8, calibrate=calibrate, origin=origin)

    def explain(self, background: Sequence[Row], rows: Sequence[Row] | None = None, **choices: Any) -> Explanation:
        """What each column does to the model's scores, against rows that are public; see `privgate.explain.explain`."""
        from privgate.explain import explain

        return explain(self.model, background, rows, **{"about": str(self.lineage.release), **choices})

    def save(self, directory: str | Path) -> list[Path]:
        """Write weights, graph, features, papers and record; raise `ConflictError` rather than write over anything."""
        from privacy.graph.weights import pack_weights
        from privgate.scoring import arrays_of

        graph = self.model.graph.graph
        artifact = pack_weights(graph, arrays_of(self.model.graph, self.model.weights))
        files = {
            "model.safetensors": artifact,
            "graph.json": canonical.encode(graph.to_json()),
            "features.json": canonical.encode(self.model.spec.features.to_json()),
            "lineage.json": self.lineage.to_bytes(file=Digest.of(artifact)),
            **self.papers.files(),
        }
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            if path.is_symlink() or (path.exists() and path.read_bytes() != content):
                raise ConflictError(f"`{path}` holds something else: choose another directory", field="directory")
            path.write_bytes(content)
        return [folder / name for name in files]


def stored_result(model: Model) -> Digest:
    """The digest of a model's weights as they are."""
    from privacy.graph.to_onnx import StoredWeights
    from privgate.derive.lineage import stored_digest
    from privgate.scoring import arrays_of

    arrays: Mapping[str, NDArray[Any]] = arrays_of(model.graph, model.weights)
    return stored_digest(StoredWeights(values=arrays).described())
