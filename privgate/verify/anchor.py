"""The trust anchor: which trust file counts, and why.

Rules
-----
1. A trust file counts if it comes from outside the evidence.
2. One that lies inside the evidence was chosen by whoever made the evidence. It counts only for the demo's own origin,
   and the output says so.
3. One that cannot be read is wrong, not absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audit.trust import TRUST_LIMIT, TrustFile
from kernel.errors import PrivgateError, TooLargeError
from privacy.homomorphic.documents.parties import Identity

DEMO = "demo."
INSIDE_DEMO = (
    "the trust file lies inside the evidence and counts only because this is the demo's own log: it shows that the "
    "bundle agrees with itself, not who made it"
)
INSIDE = (
    "the trust file lies inside the evidence, so whoever made the evidence chose it: it does not count. Use the one "
    "that you pinned at enrolment"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What the reader believes in before looking at the evidence.

    Attributes:
        trust: The trust file, if one counts.
        remark: What must be said about it.
        problem: Why the one that was given cannot be used.
        pins: Identities of parties, as they gave them out themselves.
    """

    trust: TrustFile | None = None
    remark: str | None = None
    problem: str | None = None
    pins: tuple[Identity, ...] = ()

    @classmethod
    def of(cls, trust: TrustFile | None, *, inside: bool = False, pins: tuple[Identity, ...] = ()) -> Anchor:
        """Decide whether a trust file counts.

        Args:
            trust: As it was read; nothing if none was given.
            inside: Whether it lies inside the evidence.
            pins: Identities of parties.
        """
        if trust is None or not inside:
            return cls(trust=trust, pins=pins)
        if trust.origin.startswith(DEMO):
            return cls(trust=trust, remark=INSIDE_DEMO, pins=pins)
        return cls(remark=INSIDE, pins=pins)

    @classmethod
    def read(cls, evidence: Path, path: Path | None, pins: tuple[Identity, ...] = ()) -> Anchor:
        """Read a trust file, if one is given; never raise."""
        if path is None:
            return cls(pins=pins)
        try:
            with path.open("rb") as file:
                data = file.read(TRUST_LIMIT + 1)
            if len(data) > TRUST_LIMIT:
                raise TooLargeError(f"longer than {TRUST_LIMIT} bytes")
            trust = TrustFile.from_bytes(data)
        except OSError:
            return cls(problem="the trust file cannot be read", pins=pins)
        except PrivgateError as error:
            return cls(problem=f"not a trust file: {error.message}", pins=pins)
        return cls.of(trust, inside=path.resolve().is_relative_to(evidence.resolve()), pins=pins)
