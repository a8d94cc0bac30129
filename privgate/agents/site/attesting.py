"""What a site says about its rows: a commitment under a key of its own, signed.

Rules
-----
1. Keyed: whoever guesses the rows cannot confirm the guess (RULES 30).
2. Each round looks whether the file still is the one that was attested: two rounds of one job over two files would give
   a result of neither.

Format: docs/formats/party-home.md, docs/formats/he-documents.md.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from kernel.canonical import Digest
from kernel.errors import NotFoundError
from kernel.ids import PartyId
from privacy.homomorphic.documents.attestation import Attestation
from privacy.sealing.secret import SecretBytes
from privgate.agents.site.datasets import SiteDataset

_DOMAIN: Final = b"privgate/site-rows/v1\0"
_PIECE: Final = 2**20


def commitment(dataset: SiteDataset, key: SecretBytes) -> Digest:
    """The commitment to a dataset's file as it is now; raise `NotFoundError` if it is not there."""
    made = hmac.new(key.reveal(), _DOMAIN + dataset.schema.digest.raw, hashlib.sha256)
    try:
        with dataset.file.open("rb") as file:
            while piece := file.read(_PIECE):
                made.update(piece)
    except FileNotFoundError:
        raise NotFoundError("the dataset's file is not there", field="file") from None
    return Digest.from_raw(made.digest())


def attestation(dataset: SiteDataset, party: PartyId, rows: Digest) -> Attestation:
    """What the site signs."""
    return Attestation(party=party, dataset=dataset.dataset, schema=dataset.schema.digest, rows=rows)
