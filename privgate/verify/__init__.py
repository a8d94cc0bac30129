"""The bundle verifier: everything that an auditor can find out from a directory and a pinned trust file, offline.

Rules
-----
1. Base install only: no numerics library, no server, no network. It reads one directory and writes nothing, except the
   reader's own trust file where he asks for it.
2. Numbered steps, each OK, NOT OK, CANNOT TELL or NOT HERE; what is missing is never OK, and where it may be missing
   that is said. What stays a matter of trust is printed last.
3. A step says where: the file and, wherever it can be told, the entry of the log.
4. Nothing in the evidence is believed because it says so. Only the pinned keys anchor; the rest is recomputed.

The steps and how to read them: `docs/VERIFYING.md`. What a bundle holds: `docs/formats/bundle.md`.
"""

from __future__ import annotations

from privgate.verify.anchor import Anchor
from privgate.verify.bundle import verify_bundle
from privgate.verify.command import main_verify
from privgate.verify.render import render, to_json
from privgate.verify.sums import write_sums
from privgate.verify.verdict import BundleVerdict

__all__ = ["Anchor", "BundleVerdict", "main_verify", "render", "to_json", "verify_bundle", "write_sums"]
