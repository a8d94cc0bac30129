"""Slots to ciphertexts."""

from __future__ import annotations

from typing import Any

import tenseal.sealapi as seal

from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import Slots
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.flood import veiled
from privacy.homomorphic.tenseal_backend.raw import load, save
from privacy.homomorphic.validator import pieces, require_public_key, require_secret_key
from privacy.homomorphic.wire import ciphertext_form, public_key_form, secret_key_form


def encrypt(layout: Layout, key: bytes, slots: Slots) -> bytes:
    """Encrypt what `pack` laid out.

    Args:
        layout: Profile and lengths.
        key: The public key; in mode `seeded` the secret key.
        slots: From `pack`.

    Raises:
        CorruptError: The key is none of this profile.
    """
    profile = layout.profile
    encryptors = _encryptors(layout, key)
    encoders = [seal.BatchEncoder(context(profile, instance)) for instance in range(profile.instances)]
    made = []
    for index, row in enumerate(slots):
        instance = index % profile.instances
        plain = seal.Plaintext()
        encoders[instance].encode(row, plain)
        form = ciphertext_form(profile, instance, fresh=True)
        made.append(save(_encrypted(encryptors[instance], plain, profile.mode), form))
    return veiled(layout, b"".join(made))


def _encrypted(encryptor: Any, plain: Any, mode: Mode) -> Any:
    if mode is Mode.SEEDED:
        return encryptor.encrypt_symmetric(plain)
    ciphertext = seal.Ciphertext()
    encryptor.encrypt(plain, ciphertext)
    return ciphertext


def _encryptors(layout: Layout, key: bytes) -> list[Any]:
    profile = layout.profile
    seeded = profile.mode is Mode.SEEDED
    (require_secret_key if seeded else require_public_key)(profile, key)
    form = secret_key_form if seeded else public_key_form
    kind = seal.SecretKey if seeded else seal.PublicKey
    forms = [form(profile, instance) for instance in range(profile.instances)]
    found = []
    for instance, (_, piece) in enumerate(pieces(forms, key)):
        place = context(profile, instance)
        found.append(seal.Encryptor(place, load(kind(), place, piece)))
    return found
