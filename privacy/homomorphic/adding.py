"""A round's sum as the gateway hands it to the key holder: made from signed uploads, judged against their headers.

Rules
-----
1. The key holder verifies every header with the identity that it pinned, and that the sum names exactly these uploads.
   That the ciphertexts are their sum it cannot see: a gateway that lies can have one site's numbers decrypted.
2. Ciphertexts that are one of the uploads as it stands are refused. A gateway that wants to deceive makes them look
   different; one that is broken is found out.

Format: docs/formats/he-documents.md, "Sum".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.signing import PublicKey, Signer
from privacy.homomorphic.documents.rounds import Added
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.documents.sums import GatewaySum
from privacy.homomorphic.envelope import Expected, Upload
from privacy.homomorphic.validator import require_sum


def made_sum(expected: Expected, uploads: Sequence[Upload], body: bytes, signer: Signer, *, noised: bool) -> bytes:
    """The parcel of a sum.

    Args:
        expected: What the uploads are for.
        uploads: What was added, in the order of the order's sites.
        body: The ciphertexts of the sum.
        signer: The gateway's certificate key.
        noised: Whether the gateway added noise of its own.
    """
    require_sum(expected.layout, body)
    return Parcel(_document(expected, uploads, body, noised=noised).signed(signer), body).to_bytes()


def open_sum(
    expected: Expected, uploads: Sequence[Upload], parcel: bytes, gateway: Iterable[PublicKey], *, noised: bool
) -> bytes:
    """Judge a sum and return its ciphertexts.

    Args:
        expected: What the uploads are for.
        uploads: The headers that were verified, in the order of the order's sites.
        parcel: What the gateway gave.
        gateway: The gateway's pinned certificate keys.
        noised: Whether the gateway is to have added noise of its own.

    Raises:
        PrivgateError: It is not the gateway's, for another round or key, or names other uploads.
    """
    opened = Parcel.from_bytes(parcel)
    document = GatewaySum.opened(opened.document, gateway)
    body = opened.attached(document.body)
    if document != _document(expected, uploads, body, noised=noised):
        raise CorruptError("a sum is for another job, round or key, or names other uploads than their sites signed")
    if document.body in {upload.body for upload in uploads}:
        raise CorruptError("what is called a sum is one upload")
    require_sum(expected.layout, body)
    return body


def _document(expected: Expected, uploads: Sequence[Upload], body: bytes, *, noised: bool) -> GatewaySum:
    return GatewaySum(
        job=expected.job,
        order=expected.order,
        number=expected.number,
        round=expected.round,
        key=expected.key,
        layout=expected.layout.digest,
        added=tuple(Added(site=upload.site, upload=upload.digest) for upload in uploads),
        noised=noised,
        body=Digest.of(body),
    )
