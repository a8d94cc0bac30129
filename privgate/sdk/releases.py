"""Releases: what left, believed only after it was verified.

Rules
-----
1. A file is written after certificate, artefact and receipt were verified with the pinned trust file, never before.
2. A model scores rows here, on this machine; no row of the trainer goes to the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kernel.errors import ConflictError, InvalidError
from privgate.sdk.view import View

if TYPE_CHECKING:
    from audit.receipt import ReceiptedEntry
    from privacy.release.certificate import PrivacyCertificate
    from privacy.release.statements import Certificate
    from privgate.derive.derived import Derived
    from privgate.encoding import Row
    from privgate.evaluations import Evaluation
    from privgate.explain import Explanation
    from privgate.export.file import Exported
    from privgate.glm import GlmTable
    from privgate.models import Model
    from privgate.sdk.gateway import Gateway
    from privgate.shapes import Shapes
    from privgate.statistics import Statistics
    from privgate.synthetic import SyntheticTable

FILES = ("certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(View):
    """A release and where it stands: held, released, refused or recalled."""

    NOUN: ClassVar[str] = "release"
    COLUMNS: ClassVar[tuple[str, ...]] = ("release", "kind", "state", "dataset", "epsilon", "job")
    gateway: Gateway = field(repr=False, compare=False)
    release: str
    job: str
    kind: str
    state: str
    dataset: str
    epsilon: str
    artifact_digest: str
    certificate_digest: str
    principal: str

    def check(self, verdict: str) -> Release:
        """The door-keeper's answer: `release` or `refuse`."""
        return self.gateway.check_release(self, verdict)

    def recall(self) -> Release:
        """Close its download. What was disclosed stays disclosed."""
        return self.gateway.recall_release(self)

    def model(self) -> Any:
        """Fetch, verify, and give the model as a `torch.nn.Module`; see `VerifiedRelease.model`."""
        return self.fetch().model()

    def predict(self, rows: Iterable[Row], *, threshold: float = 0.5) -> list[Any]:
        """Fetch, verify, and score raw rows here; for many calls keep what `fetch` gives."""
        return self.fetch().predict(rows, threshold=threshold)

    def export_onnx(self, path: str | Path, **choices: Any) -> Exported:
        """Fetch, verify, and write the model as one ONNX file; see `VerifiedRelease.export_onnx`."""
        return self.fetch().export_onnx(path, **choices)

    def explain(self, background: Sequence[Row], rows: Sequence[Row] | None = None, **choices: Any) -> Explanation:
        """Fetch, verify, and explain the model against public rows; see `VerifiedRelease.explain`."""
        return self.fetch().explain(background, rows, **choices)

    def fetch(self) -> VerifiedRelease:
        """Fetch every file and verify all of it; raise `CorruptError` if anything is not what it should be."""
        return self.gateway.fetch_release(self)

    def download(self, directory: str | Path) -> VerifiedRelease:
        """Fetch, verify, and then write the files into a directory."""
        fetched = self.fetch()
        fetched.write(directory)
        return fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRelease:
    """A release whose certificate, artefact and receipt were verified together.

    Attributes:
        release: As the gateway described it.
        certificate: Signed by a pinned key; its numbers follow from each other.
        entry: The log entry that published it, proven by the receipt.
        files: The verified files by name.
    """

    release: Release
    certificate: Certificate
    entry: ReceiptedEntry = field(repr=False)
    files: dict[str, bytes] = field(repr=False)

    @property
    def artifact(self) -> bytes:
        """What was released."""
        return self.files[self.certificate.artifact_name]

    @property
    def priced(self) -> PrivacyCertificate:
        """The certificate of a result that was charged; raise `InvalidError` if this one is exact: it has no price."""
        from privacy.release.certificate import PrivacyCertificate
        from privacy.release.disclosure import DisclosureCertificate

        if isinstance(self.certificate, DisclosureCertificate):
            raise InvalidError("this release is exact: it is a table, and nothing in it is private", field="release")
        if not isinstance(self.certificate, PrivacyCertificate):
            raise InvalidError(
                f"this release has no price of its own: it is `{self.certificate.artifact_name}`", field="release"
            )
        return self.certificate

    @property
    def exact(self) -> bool:
        """Whether no noise was added, so that nothing bounds what the result tells of one person."""
        from privacy.release.disclosure import DisclosureCertificate

        return isinstance(self.certificate, DisclosureCertificate)

    @property
    def card(self) -> str:
        """The model card, made from the certificate."""
        return self.files["MODEL_CARD.md"].decode("utf-8")

    def write(self, directory: str | Path) -> list[Path]:
        """Write the files; raise `ConflictError` rather than overwrite one with other content."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            path = folder / name
            if path.is_symlink() or (path.exists() and path.read_bytes() != content):
                raise ConflictError(f"`{path}` holds something else: choose another directory", field="directory")
            path.write_bytes(content)
        return [folder / name for name in self.files]

    def scorer(self) -> Model:
        """The released model, ready to score rows on this machine; the base install is enough for most."""
        from privgate.models import Model

        gateway, model = self.release.gateway, self.priced.predicate.model
        request = gateway.jobs[self.release.job].request
        schema = gateway.datasets[self.release.dataset].schema
        if request is None or request.get("kind") not in ("training", "tuning"):
            raise InvalidError("this release is not a model", field="release")
        return Model.open(self.artifact, request, schema, graph=model.graph, features=model.features)

    def model(self) -> Any:
        """The released model as a `torch.nn.Module`: from graph and weights, float32, in eval mode.

        It reads encoded rows, as `scorer().encoded(rows)` gives them. Raise `ExtraMissingError` without torch.
        """
        return self.scorer().to_torch()

    def predict(self, rows: Iterable[Row], *, threshold: float = 0.5) -> list[Any]:
        """The prediction for each raw row, of a list or a data frame; `None` where a row cannot be scored.

        A binary target gives `True` or `False`, several classes the likeliest one's name, a number the number.
        """
        return self.scorer().predict(rows, threshold=threshold)

    def derived(self) -> Derived:
        """The model with its papers, to be exported, explained, pruned, rounded or distilled. All of that is free."""
        from privgate.derive.derived import Derived

        return Derived.of(self.scorer(), self.priced, self.files)

    def export_onnx(self, path: str | Path, **choices: Any) -> Exported:
        """Write one ONNX file from raw columns to probabilities, with the certificate inside.

        Choices are those of `privgate.derive.derived.Derived.export_onnx`: `int8`, `calibrate`, `origin`.
        """
        return self.derived().export_onnx(path, **choices)

    def explain(self, background: Sequence[Row], rows: Sequence[Row] | None = None, **choices: Any) -> Explanation:
        """What each column does to the scores, against a background of public or made-up rows, never of raw ones.

        `release.explain(background).save("explained.svg")`; see `privgate.explain.explain` for the choices.
        """
        return self.derived().explain(background, rows, **choices)

    def shapes(self) -> Shapes:
        """What each column adds to the score of an additive model, with the band of its noise.

        `release.shapes().save("shapes.svg")` draws them; `text()` is for a terminal, `card(release.card)` for papers.
        """
        from privgate.shapes import Shapes

        return Shapes.of(self.scorer(), self.priced.predicate)

    def evaluation(self) -> Evaluation:
        """The released evaluation, computed again from its noisy numbers: its members, and figures by name.

        Of two classes `auc` is the chance that a positive row scores above a negative one. Of several there is
        `confidence_auc` in its place: the chance that the model is surer of a right prediction than of a wrong one. It
        says how far its confidence can be trusted, not how often it is right, which is `accuracy`. Members:
        docs/formats/job-child.md.
        """
        from privgate.evaluations import Evaluation

        if self.certificate.artifact_name != "evaluation.json":
            raise InvalidError("this release is not an evaluation", field="release")
        return Evaluation.read(self.artifact)

    def statistics(self) -> Statistics:
        """The released statistics, of sites as well, computed again from their numbers: answers with intervals."""
        from privgate.site_results import STATISTICS_FILES, statistics_of

        if self.certificate.artifact_name not in STATISTICS_FILES:
            raise InvalidError("this release holds no statistics", field="release")
        return statistics_of(self.artifact)

    def synthetic_table(self) -> SyntheticTable:
        """The released counts of a synthetic table; `rows` draws from them, as often as you like and for nothing."""
        from privgate.synthetic import SyntheticTable

        if self.certificate.artifact_name != "synthesis.json":
            raise InvalidError("this release is no synthetic table: ask a job of kind `synthesis`", field="release")
        return SyntheticTable.read(self.artifact)

    def glm(self) -> GlmTable:
        """The released table of a generalised linear model, of sites as well, held to its sums; `print` shows it."""
        from privgate.site_results import GLM_FILES, glm_of

        if self.certificate.artifact_name not in GLM_FILES:
            raise InvalidError("this release is no generalised linear model", field="release")
        return glm_of(self.artifact)

    def __repr__(self) -> str:
        return f"VerifiedRelease({self.release.release}, {self.certificate.artifact_name}, {self._said()})"

    def _said(self) -> str:
        from privgate.sdk.promises import promises

        (title, words), *_ = promises(self.certificate)
        return f"{words} alone" if title == "this job alone" else f"{title}: {words}"

    def _repr_html_(self) -> str:
        from privgate.sdk import html
        from privgate.sdk.promises import promises

        lines: list[tuple[str, Any]] = [
            ("release", self.release.release),
            ("artefact", f"{self.certificate.artifact_name}, {self.certificate.artifact}"),
            *promises(self.certificate),
        ]
        return html.card("verified release", [*lines, ("log entry", self.entry.index)])
