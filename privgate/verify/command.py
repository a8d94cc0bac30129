"""`privgate verify PATH --trust FILE`: offline; exit code 0 only if everything was checked and holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kernel.errors import ConflictError, InvalidError, NotFoundError
from privgate.verify.advance import advance, require_pinnable
from privgate.verify.anchor import Anchor
from privgate.verify.beside import TRUST
from privgate.verify.bundle import verify_anchored
from privgate.verify.parties.pins import read_pins
from privgate.verify.render import styled, to_json
from privgate.verify.verdict import BundleVerdict


def main_verify(
    path: Path,
    trust_path: Path | None,
    *,
    as_json: bool = False,
    pin: bool = False,
    parties: Sequence[Path] = (),
    console: Console | None = None,
    remarks: Console | None = None,
) -> int:
    """Verify, print, and return the exit code.

    Args:
        path: A bundle, an archive, or the files of one release.
        trust_path: The trust file that was pinned at enrolment; if absent, the bundle's own is looked at, which counts
            for the demo's own log alone.
        as_json: Print the verdict as JSON instead of text.
        pin: Move the trust file's checkpoint forward if the outcome is VERIFIED.
        parties: Files of sites and key holders that say who they are, exchanged out of band.
        console: Where to print.
        remarks: Where to say what was pinned.

    Raises:
        NotFoundError: There is no directory at `path`.
        InvalidError: It is the folder `audit` itself; `pin` without a trust file of the reader's own; one of
            `parties` that is no `identity.json` from outside.
    """
    if not path.is_dir():
        raise NotFoundError("there is no directory to verify", field="PATH")
    if (path / "archive.json").is_file():
        raise InvalidError("this is the log's own folder: name the directory that holds it", field="PATH")
    own = require_pinnable(path, trust_path) if pin else None
    beside = path / TRUST
    given = trust_path if trust_path is not None or not beside.is_file() else beside
    verdict = verify_anchored(path, Anchor.read(path, given, read_pins(path, parties)))
    out = console or Console(highlight=False, soft_wrap=True)
    if as_json:
        out.print(json.dumps(to_json(verdict), indent=2), markup=False, soft_wrap=True)
    else:
        out.print(styled(verdict), soft_wrap=True)
    said = _pinned(verdict, own)
    if said:
        (remarks or Console(stderr=True, highlight=False, soft_wrap=True)).print(said, markup=False, soft_wrap=True)
    return verdict.exit_code


def _pinned(verdict: BundleVerdict, own: Path | None) -> str:
    if own is None:
        return ""
    try:
        return advance(own, verdict)
    except ConflictError as error:
        # The verdict stands, and its exit code is what counts.
        return f"{own} was left as it is: {error.message}."
