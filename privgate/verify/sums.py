"""`SHA256SUMS`: the digest of every file of a bundle, against accidents. `sha256sum -c SHA256SUMS` reads it, too.

It is not signed: whoever alters a file on purpose can write it anew. It covers what no signature covers, such as a
summary, so that a byte that fell over on the way is found wherever it lies. Format: docs/formats/bundle.md.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from audit.findings import Findings

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f]{1,400})")


def write_sums(bundle: Path) -> Path:
    """Write the digests of every file of a finished bundle; return where."""
    target = bundle / NAME
    lines = [f"{_digest(bundle / name)}  {name}\n" for name in _files(bundle)]
    target.write_text("".join(lines), encoding="utf-8")
    return target


def check_sums(bundle: Path, data: bytes, findings: Findings) -> frozenset[str]:
    """Compare every file with its digest; return the names that the list covers."""
    try:
        matches = [_LINE.fullmatch(line) for line in data.decode("utf-8").removesuffix("\n").split("\n")]
    except UnicodeDecodeError:
        matches = [None]
    here = set(_files(bundle))
    listed: set[str] = set()
    for number, match in enumerate(matches, 1):
        if match is None:
            findings.wrong(NAME, f"line {number} is malformed")
            continue
        listed.add(match[2])
        if match[2] not in here:
            findings.wrong(NAME, f"line {number} names a file that is not here: {match[2]}")
        elif _digest(bundle / match[2]) != match[1]:
            findings.wrong(match[2], "its digest is not the one in the list of digests: one of the two was altered")
    for name in sorted(here - listed):
        findings.wrong(name, "the list of digests does not have it")
    return frozenset(listed & here)


def _files(bundle: Path) -> list[str]:
    found = []
    for folder, _, names in os.walk(bundle):
        paths = [Path(folder, name) for name in names]
        found += [path.relative_to(bundle).as_posix() for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(name for name in found if name != NAME)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
