"""The secret key of a `seeded` job on its way to the sites, each sealed to one of them (RULES 36).

Rules
-----
1. Sealed to the sealing key that the key holder pinned, for this order, this public key and this site: it opens for no
   other.
2. A site keeps it sealed, as it came, and opens it for each round. Every site has it then: what a site uploads is
   sealed to the key holder besides (`envelope`).
3. Under a `public-key` profile nobody is given anything.

Form: docs/formats/he-documents.md, "Key".
"""

from __future__ import annotations

from typing import Any

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import PartyId
from privacy.homomorphic.documents.key import JobKey, SealedSecret
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.profiles import Mode, Profile
from privacy.homomorphic.sealed import open_sealed, seal_to
from privacy.homomorphic.validator import require_secret_key
from privacy.sealing.secret import SecretBytes


def job_key(order: Order, profile: Profile, public_key: bytes, secret: SecretBytes) -> JobKey:
    """The key document of a job, with the secret key for each site where sites encrypt with it."""
    if profile.mode is Mode.PUBLIC_KEY:
        return JobKey.of(order, public_key)
    name = Digest.of(public_key)
    sealed = tuple(
        SealedSecret(
            site=site.party,
            sealed=seal_to(site.who.sealing, _context(order, name, site.party), secret.reveal()),
        )
        for site in order.sites
    )
    return JobKey.of(order, public_key, sealed)


def encrypting_key(
    key: JobKey, order: Order, profile: Profile, public_key: bytes, site: PartyId, private: SecretBytes
) -> bytes:
    """What a site encrypts with: the public key, or the secret key that was sealed to it.

    Args:
        key: The job's key, signed by the key holder.
        order: Its order.
        profile: The order's.
        public_key: The bytes beside the key.
        site: Which site.
        private: The site's private sealing key.

    Raises:
        CorruptError: A secret key is there where none belongs, is missing, or is none of this profile.
    """
    if bool(key.sealed) != (profile.mode is Mode.SEEDED):
        raise CorruptError("a secret key is shared where the profile shares none, or is missing")
    if not key.sealed:
        return public_key
    (own,) = (shared.sealed for shared in key.sealed if shared.site == site)
    secret = open_sealed(private, _context(order, key.public_key, site), own)
    require_secret_key(profile, secret)
    return secret


def _context(order: Order, public_key: Digest, site: PartyId) -> dict[str, Any]:
    return {"key": public_key, "order": order.digest, "part": "secret", "site": site}
