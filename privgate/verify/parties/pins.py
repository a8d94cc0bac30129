"""The identities of parties that a reader pinned: the files that sites and key holders gave out themselves.

Rules
-----
1. A pin comes from outside the evidence: one that lies inside was chosen by whoever made the evidence.
2. Whoever pins one party pins all that took part: a party without a pin is then told apart, because a gateway could
   have made it up.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kernel.errors import ConflictError, InvalidError, NotFoundError, PrivgateError
from privacy.homomorphic.documents.parties import IDENTITY_LIMIT, Identity


def read_pins(evidence: Path, paths: Iterable[Path]) -> tuple[Identity, ...]:
    """Read pin files.

    Raises:
        NotFoundError: There is none at a path.
        InvalidError: Not an `identity.json`, or one that lies inside the evidence.
        ConflictError: Two of one kind and name.
    """
    found: dict[tuple[str, str], Identity] = {}
    for path in paths:
        who = _read(evidence, path)
        if found.setdefault((who.kind, who.name), who) != who:
            raise ConflictError(f"two pins are of the {who.kind} `{who.name}`, and differ", field="pin")
    return tuple(found.values())


def _read(evidence: Path, path: Path) -> Identity:
    if path.resolve().is_relative_to(evidence.resolve()):
        raise InvalidError("a pin lies outside the evidence: use what the party gave you itself", field="pin")
    try:
        with path.open("rb") as file:
            return Identity.from_bytes(file.read(IDENTITY_LIMIT + 1))
    except OSError:
        raise NotFoundError("a pin cannot be read", field="pin") from None
    except PrivgateError as error:
        raise InvalidError(f"a pin is no `identity.json`: {error.message}", field="pin") from None
