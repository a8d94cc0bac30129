"""The record of what was done to a release after it left.

Rules
-----
1. It begins at a verified release and grows step by step; a step is never taken out.
2. It is its maker's word, and says so.

Form: docs/formats/lineage.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import ReleaseId

FORMAT: Final = "privgate/lineage/v1"
LIMIT = 1 << 20
MOST_STEPS = 64
SAYS: Final = (
    (
        "Made from a release by steps that read the release and rows named here, and no row of anybody who is "
        "protected: post-processing, so the guarantee of the certificate carries over and nothing more was charged."
    ),
    "Figures of an evaluation do not carry over: they are about the release as it was, not about what came out.",
    "That these were the steps, and these the rows, is the word of whoever took them.",
)


class Origin(StrEnum):
    """Where rows come from that a step may read."""

    PUBLIC = "public"
    DUMMY = "dummy"
    SYNTHETIC = "dp-synthetic"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRows:
    """Rows that a step read: whose, how many, and which."""

    origin: Origin
    count: int
    digest: Digest

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], origin: str) -> PublicRows:
        """Describe rows; raise `InvalidError` unless `origin` is one of the known words."""
        if origin not in list(Origin):
            raise InvalidError(
                f"`origin` says where the rows come from: {', '.join(Origin)}; rows of anybody who is protected "
                "never belong here",
                field="origin",
            )
        if not rows:
            raise InvalidError("give at least one row", field="rows")
        written = [{name: _written(value) for name, value in row.items()} for row in rows]
        return cls(origin=Origin(origin), count=len(rows), digest=digest_of("public-rows/v1", written))

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        return {"origin": self.origin.value, "count": self.count, "digest": self.digest}

    def __str__(self) -> str:
        return f"{self.count} rows, {_IN_WORDS[self.origin]}"


_IN_WORDS: Final = {
    Origin.PUBLIC: "public by the word of whoever gave them",
    Origin.DUMMY: "made up from the schema",
    Origin.SYNTHETIC: "synthetic, from a private release",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a model comes from, and what was done to it.

    Attributes:
        release, certificate, artifact, graph: What it began with.
        steps: What was done, in order.
        result: Digest of the weights as they are now.
    """

    release: ReleaseId
    certificate: Digest
    artifact: Digest
    graph: Digest
    result: Digest
    steps: tuple[Mapping[str, Any], ...] = ()

    @property
    def derived(self) -> bool:
        """Whether the weights are no longer the released ones."""
        return any(step["step"] != "onnx" for step in self.steps)

    def then(self, step: str, result: Digest, **choices: Any) -> Lineage:
        """The record with one step more."""
        return replace(self, steps=(*self.steps, {"step": step, **choices}), result=result)

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/lineage.md says."""
        return {
            "format": FORMAT,
            "release": self.release,
            "certificate": self.certificate,
            "artifact": self.artifact,
            "graph": self.graph,
            "steps": [dict(step) for step in self.steps],
            "result": self.result,
            "says": list(SAYS),
        }

    def to_bytes(self, **more: Digest) -> bytes:
        """The canonical bytes, with the digest of the `file` that it stands beside."""
        return canonical.encode(self.to_json() | more)

    @classmethod
    def from_bytes(cls, data: bytes) -> Lineage:
        """Read what `to_bytes` writes; raise `CorruptError` otherwise."""
        try:
            body = canonical.decode(data, limit=LIMIT, canonical=True)
            body.pop("file", None)
            found = cls(
                release=ReleaseId(body["release"]),
                **{name: Digest(body[name]) for name in ("certificate", "artifact", "graph", "result")},
                steps=tuple(_step(step) for step in body["steps"]),
            )
            whole(0, MOST_STEPS, steps=len(found.steps))
        except (PrivgateError, AttributeError, KeyError, TypeError, ValueError):
            raise CorruptError("not a lineage of a known form", field="lineage") from None
        if found.to_json() != body:
            raise CorruptError("not a lineage of a known form", field="lineage")
        return found


_STEPS: Final[Mapping[str, frozenset[str]]] = {
    "prune": frozenset({"share", "kept"}),
    "distil": frozenset({"graph", "steps", "batch", "learning_rate", "seed", "rows"}),
    "int8": frozenset({"inputs"}),
    "onnx": frozenset(),
}
_CALIBRATED: Final = frozenset({"inputs", "rows"})


def _step(body: Any) -> Mapping[str, Any]:
    """A step with exactly its members."""
    members = _CALIBRATED if body.get("inputs") == "calibrated" else _STEPS[body["step"]]
    if set(body) != {"step", *members}:
        raise CorruptError("a lineage names a step that is not known", field="lineage")
    if "rows" in body:
        rows = body["rows"]
        PublicRows(
            origin=Origin(rows["origin"]), count=whole(1, 2**53 - 1, rows=rows["count"]), digest=Digest(rows["digest"])
        )
    return dict(body)


def stored_digest(arrays: Iterable[tuple[str, str, Sequence[int], bytes]]) -> Digest:
    """The digest of weights as a file holds them: names, kinds, shapes and bytes."""
    described: list[dict[str, Any]] = [
        {"name": name, "kind": kind, "shape": list(shape), "data": Digest.of(data)}
        for name, kind, shape, data in sorted(arrays)
    ]
    return digest_of("stored-weights/v1", described)


def _written(value: Any) -> Any:
    """A cell as something that has a canonical form: numbers become the text that they print as."""
    if value is None or isinstance(value, bool):
        return value
    if hasattr(value, "tolist"):  # an array or a number of a library
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_written(item) for item in value]
    return str(value)
