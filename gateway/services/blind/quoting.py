"""What a blind training would take, and who would learn what: told before anything starts.

Rules
-----
1. Everything follows from the request and from declarations.
2. Seconds are of computing alone, generously: a confined process for each step of either side, and what the
   ciphertexts take (benchmarks/results/he.jsonl).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.services.blind.planning import PlannedBlind
from kernel.canonical import Digest
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.blind.spec import BlindSpec
from privacy.release.blind import OBSERVERS

PROCESS_MS: Final = 2000
"""Of a confined process from its start to its end, on a core of a common server that has other things to do."""
CIPHERTEXT_MS: Final = 400
"""Of one epoch on one ciphertext of rows, with what is loaded for it."""
RESULT: Final = "kept"
WORDS: Final = (
    "Experimental. The owner's site encrypts its rows under a key that it alone has; the gateway computes on "
    "ciphertexts and reads nothing. The model is exact and stays with the owner: nothing is charged, because nothing "
    "leaves him; if he hands it out, that is his disclosure. The site trains in the clear as well, to check the "
    "polynomial's range and the result, so that this shows what blind training takes and saves no computing."
)


@dataclass(frozen=True, slots=True)
class BlindQuote:
    """A quote and the final form of the request that it is for."""

    spec: BlindSpec
    fields: dict[str, Any]

    @property
    def request_digest(self) -> Digest:
        """Of the final form."""
        return self.spec.digest


def quoted_blind(planned: PlannedBlind) -> BlindQuote:
    """Say what a planned training would take."""
    spec, shape = planned.spec, planned.plan.shape
    epochs, first = shape.epochs, shape.key_bytes + shape.data_bytes
    computing = PROCESS_MS * (1 + 2 * epochs) + CIPHERTEXT_MS * shape.ciphertexts * epochs
    fields: dict[str, Any] = {
        "kind": spec.to_json()["kind"],
        "result": RESULT,
        "sites": 1,
        "rounds_at_most": epochs,
        "profile": str(PROFILE.name),
        "numbers": shape.features,
        "bytes_per_site_and_round": shape.weights_bytes,
        "bytes_of_the_key": shape.key_bytes,
        "bytes_per_site_at_most": first + epochs * shape.weights_bytes,
        "computing_seconds": -(-computing // 1000),
        "longest_seconds": spec.round_seconds * (2 * epochs + 2),
        "observers": [one.to_fields() for one in OBSERVERS],
        "uncovered_before": [],
        "says": WORDS,
    }
    return BlindQuote(spec, fields)
