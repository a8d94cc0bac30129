"""Key pairs: one for each plain modulus of a profile, drawn independently."""

from __future__ import annotations

from dataclasses import dataclass

import tenseal.sealapi as seal

from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.raw import save
from privacy.homomorphic.wire import public_key_form, secret_key_form
from privacy.sealing.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key and its secret key, as raw SEAL bytes, one instance after the other."""

    public: bytes
    secret: SecretBytes


def make_keys(profile: Profile) -> KeyPair:
    """Draw a key pair with SEAL's generator (BLAKE2xb, seeded by the operating system)."""
    public, secret = [], []
    for instance in range(profile.instances):
        generator = seal.KeyGenerator(context(profile, instance))
        key = seal.PublicKey()
        generator.create_public_key(key)
        public.append(save(key, public_key_form(profile, instance)))
        secret.append(save(generator.secret_key(), secret_key_form(profile, instance)))
    return KeyPair(b"".join(public), SecretBytes(b"".join(secret)))
