"""What the errors of a decrypted sum tell whoever has the key: two splits of one total among sites, told apart or not.

Encrypting rounds each plaintext to the ciphertext's modulus, so that the errors of a sum count how often the roundings
of its summands carried. Who holds the secret key reads them beside the sum. The attack here is given all of the
encryption's own randomness, as in the proof (`privacy.homomorphic.flooding`), and correlates what is left with what
each split would leave.
"""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest
import tenseal.sealapi as seal

from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import pack
from privacy.homomorphic.profiles import flooding
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.tenseal_backend.aggregate import Sum, aggregate
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.homomorphic.tenseal_backend.flood import flooded
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privacy.homomorphic.validator import upload_forms

WIDE = profile_of("bfv-8192-public")
LAYOUT = Layout(profile=WIDE, values=64, bound=1000, summands=3)
EVEN, UNEVEN = ([10] * 64, [10] * 64, [10] * 64), ([30] * 64, [0] * 64, [0] * 64)


def coefficients(values: list[int]) -> np.ndarray:
    """The plaintext's coefficients, by the encoder itself."""
    plain = seal.Plaintext()
    seal.BatchEncoder(context(WIDE)).encode(pack(LAYOUT, values)[0], plain)
    found = [int(plain[place]) if place < plain.coeff_count() else 0 for place in range(WIDE.degree)]
    return np.array(found, dtype=object)


def roundings(split: tuple[list[int], ...]) -> np.ndarray:
    """R: by how much the roundings of all summands differ from that of their sum."""
    modulus, plain = int(np.prod(np.array(WIDE.data_primes, dtype=object))), WIDE.plain_modulus
    parts = [coefficients(values) for values in split]
    each = sum((modulus * part + plain // 2) // plain for part in parts)
    total = sum(parts) % plain
    return ((each - (modulus * total + plain // 2) // plain) % modulus).astype(object)


def centred(numbers: np.ndarray) -> np.ndarray:
    """Small numbers of either sign."""
    modulus = int(np.prod(np.array(WIDE.data_primes, dtype=object)))
    return np.where(numbers > modulus // 2, numbers - modulus, numbers)


def guess(seen: np.ndarray) -> int:
    """Which of the two splits it was, by the likelihood of Gaussian errors around what each leaves."""
    distances = [float(((seen - centred(roundings(split))).astype(float) ** 2).sum()) for split in (EVEN, UNEVEN)]
    return int(np.argmin(distances))


def test_without_a_flood_the_errors_tell_how_a_total_was_split() -> None:
    """The two leave different carries in most coefficients, so that the attack is right each time."""
    even, uneven = centred(roundings(EVEN)), centred(roundings(UNEVEN))
    assert (even != uneven).mean() > 0.2
    assert int(np.abs(even - uneven).max()) <= LAYOUT.summands + 1
    assert [guess(even), guess(uneven)] == [0, 1]


def test_the_carries_are_those_of_real_ciphertexts() -> None:
    """SEAL's own sum, given its randomness: a trivial encryption has no other error, and decrypts to the total."""
    pair = make_keys(WIDE)
    zero = encrypt(LAYOUT, pair.public, pack(LAYOUT, [0] * 64))
    for split in (EVEN, UNEVEN):
        total = Sum(LAYOUT)
        total.add(zero)
        before = np.array(words(total.body()), dtype=object)
        for values in split:
            total.add_slots(pack(LAYOUT, values))
        after = np.array(words(total.body()), dtype=object)
        parts = [coefficients(values) for values in split]
        whole = sum(parts) % WIDE.plain_modulus
        modulus = int(np.prod(np.array(WIDE.data_primes, dtype=object)))
        exact = (modulus * whole + WIDE.plain_modulus // 2) // WIDE.plain_modulus
        left = (after - before - exact % WIDE.data_primes[0]) % WIDE.data_primes[0]
        assert (left == roundings(split) % WIDE.data_primes[0]).all()


def words(body: bytes) -> list[int]:
    """The first polynomial of a sum's first ciphertext, modulo its first prime."""
    form = upload_forms(LAYOUT, fresh=False)[0]
    return np.frombuffer(form.content(body[: form.size]), dtype="<u8")[: WIDE.degree].tolist()


def test_with_the_flood_the_same_attack_is_a_coin() -> None:
    """Over many sums of either split: no better than guessing, at odds of one in a million for a false alarm."""
    source, right, tries = ExactSource(os.urandom), 0, 40
    leftover = [centred(roundings(split)) for split in (EVEN, UNEVEN)]
    moved = (leftover[1] - leftover[0]).astype(float)
    places = np.flatnonzero(moved)[:192]
    for turn in range(tries):
        actual = turn % 2
        flood = np.fromiter(source.gaussians(len(places), Fraction(flooding(WIDE)) ** 2), dtype=float)
        seen = leftover[actual][places].astype(float) + flood
        score = ((seen - leftover[0][places].astype(float)) * moved[places]).sum() - (moved[places] ** 2).sum() / 2
        right += int(score > 0) == actual
    assert abs(right - tries / 2) < 5 * np.sqrt(tries) / 2


@pytest.mark.slow
def test_a_flooded_sum_of_either_split_decrypts_to_the_same_numbers() -> None:
    """Through SEAL, the gateway's way: the total is exact whichever split it was of."""
    pair = make_keys(WIDE)
    for split in (EVEN, UNEVEN):
        body = aggregate(LAYOUT, [encrypt(LAYOUT, pair.public, pack(LAYOUT, values)) for values in split])
        slots = decrypt(LAYOUT, pair.secret, Sum.of_body(LAYOUT, flooded(LAYOUT, body)))
        assert slots[0][:64] == pack(LAYOUT, [30] * 64)[0][:64]
