"""Moving a pinned checkpoint forward, so that the next log must contain the one that was verified.

Rules
-----
1. Only after VERIFIED, only the reader's own file outside the evidence, and never back (`TrustFile.advanced`).
2. The file is replaced whole, with its mode; a crash leaves the old one or the new one.
"""

from __future__ import annotations

import os
from pathlib import Path

from audit.trust import TrustFile
from kernel.errors import ConflictError, InvalidError
from privgate.verify.verdict import BundleVerdict


def require_pinnable(evidence: Path, trust_path: Path | None) -> Path:
    """The file that may be moved forward; raise `InvalidError` if there is none outside the evidence."""
    if trust_path is None:
        raise InvalidError("`--advance` moves your own trust file: give it with --trust", field="trust")
    if trust_path.resolve().is_relative_to(evidence.resolve()):
        raise InvalidError("`--advance` moves a trust file of your own, which lies outside the evidence", field="trust")
    return trust_path.resolve()


def advance(path: Path, verdict: BundleVerdict) -> str:
    """Pin the verified checkpoint in the file at `path`; say what was done.

    Raises:
        ConflictError: The outcome is not VERIFIED, or the file pins something newer by now.
    """
    if not verdict.ok or verdict.checkpoint is None:
        raise ConflictError(f"the outcome is {verdict.outcome}, so nothing was pinned", field="advance")
    before = TrustFile.from_bytes(path.read_bytes())
    after = before.advanced(verdict.checkpoint)
    if after == before:
        return f"{path} pins size {before.last_seen.size} already."
    _replace(path, after.to_bytes())
    return f"{path} pins size {after.last_seen.size} now; it was {before.last_seen.size}."


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    mode = path.stat().st_mode & 0o777
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
