"""SEAL's contexts for the profiles, made once per process.

Rules
-----
1. 128 bits (`TC128`) always; SEAL's own check must hold besides the standard's table.
2. SEAL names its parameters by a hash: it has to be the one that `wire` computes, or the profile is not what SEAL runs.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import tenseal.sealapi as seal

from kernel.errors import UnavailableError
from privacy.homomorphic.profiles import Profile, Scheme
from privacy.homomorphic.wire import parms_id

_SCHEMES = {Scheme.BFV: seal.SCHEME_TYPE.BFV, Scheme.CKKS: seal.SCHEME_TYPE.CKKS}


@cache
def context(profile: Profile, instance: int = 0) -> Any:
    """The context of a profile and one of its plain moduli.

    Raises:
        UnavailableError: This build of SEAL does not run the profile's parameters.
    """
    parameters = seal.EncryptionParameters(_SCHEMES[profile.scheme])
    parameters.set_poly_modulus_degree(profile.degree)
    modulus = seal.CoeffModulus.Create(profile.degree, list(profile.coefficient_bits))
    parameters.set_coeff_modulus(modulus)
    if profile.scheme is Scheme.BFV:
        parameters.set_plain_modulus(profile.plain_primes[instance])
    made = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    same = (
        made.parameters_set()
        and tuple(prime.value() for prime in modulus) == profile.coefficient_primes
        and _bytes(made.key_parms_id()) == parms_id(profile, instance, profile.coefficient_primes)
        and _bytes(made.first_parms_id()) == parms_id(profile, instance, profile.data_primes)
    )
    if not same:
        raise UnavailableError("this build of SEAL makes other parameters than the profile has", field="profile")
    return made


def _bytes(words: list[int]) -> bytes:
    return struct.pack("<4Q", *words)
