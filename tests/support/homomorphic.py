"""Keys, layouts and uploads for tests of homomorphic encryption; SEAL runs in the test's own process here."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from kernel.canonical import Digest
from kernel.ids import JobId, PartyId
from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.parties import SealingKey
from privacy.homomorphic.envelope import Expected, make_upload
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.profiles import Mode, Profile
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.sealed import new_sealing_key, sealing_key_of
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.homomorphic.tenseal_backend.keys import KeyPair, make_keys
from privacy.sealing.secret import SecretBytes

SUMMING = (
    "bfv-4096-public",
    "bfv-2048-seeded",
    "bfv-8192-public",
    "bfv-2048-wide-public",
    "bfv-8192-wide-public",
    "bfv-2048-wide-seeded",
)


def keys_of(name: str, which: int = 0) -> KeyPair:
    """A key pair of a profile; another `which`, another pair."""
    return _pair(name, which)


@functools.cache
def _pair(name: str, _: int) -> KeyPair:
    return make_keys(profile_of(name))


def layout_of(name: str, values: int = 100, summands: int = 8) -> Layout:
    """Values of 16 bits; of 60 under a wide profile."""
    profile = profile_of(name)
    if profile.instances > 1:
        return Layout(profile=profile, values=values, bound=2**60, summands=summands)
    return Layout.plain(profile, values, summands)


def encrypting_key(profile: Profile, pair: KeyPair) -> bytes:
    """What a site encrypts with."""
    return pair.secret.reveal() if profile.mode is Mode.SEEDED else pair.public


def encrypted(layout: Layout, values: Sequence[int], which: int = 0) -> bytes:
    """One site's ciphertexts."""
    pair = keys_of(layout.profile.name, which)
    return encrypt(layout, encrypting_key(layout.profile, pair), pack(layout, values))


def summed(layout: Layout, bodies: Sequence[bytes], which: int = 0) -> list[int]:
    """Add and decrypt, as the key holder's child does."""
    total = Sum(layout)
    for body in bodies:
        total.add(body)
    return unpack(layout, decrypt(layout, keys_of(layout.profile.name, which).secret, total))


class Cast:
    """One site and one key holder of a job, with what both expect of an upload."""

    def __init__(self, name: str = "bfv-2048-wide-public", values: int = 10) -> None:
        self.site = Ed25519Signer.generate(os.urandom)
        self.private: SecretBytes = new_sealing_key(os.urandom)
        self.holder: SealingKey = sealing_key_of(self.private)
        self.layout = layout_of(name, values)
        self.expected = Expected(
            job=JobId.new(os.urandom),
            order=Digest.of(b"order"),
            round=Digest.of(b"round 1"),
            number=1,
            key=Digest.of(keys_of(name).public),
            participants=Digest.of(b"three sites"),
            site=PartyId.new(os.urandom),
            layout=self.layout,
        )
        self.body = encrypted(self.layout, list(range(values)))

    def parcel(self, expected: Expected | None = None) -> bytes:
        """The site's upload."""
        return make_upload(expected or self.expected, self.body, self.site, self.holder)
