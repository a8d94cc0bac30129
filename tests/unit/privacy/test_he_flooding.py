"""Sums that the gateway makes: exact, with its noise, and with errors that tell nothing of how they came about."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import tenseal.sealapi as seal

from kernel.amounts import Delta
from kernel.errors import CorruptError, InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import LEAST_NOISE, Gaussian
from privacy.accounting.rdp import job_epsilon
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.flooding import leak, require_hidden
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import (
    HIDING,
    Addition,
    NoiseBy,
    SiteNoise,
    drawn,
    noised,
    variances,
    with_noise,
)
from privacy.homomorphic.observing import observers
from privacy.homomorphic.packing import pack, pack_noise, unpack
from privacy.homomorphic.profiles import MARGIN, VEIL, Mode, Scheme, flooding, margin, veil
from privacy.homomorphic.registry import PROFILES, profile_of
from privacy.homomorphic.tenseal_backend.aggregate import Sum, aggregate
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.homomorphic.tenseal_backend.flood import flooded
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privacy.homomorphic.tenseal_backend.raw import load, save
from privacy.homomorphic.validator import require_public_key, upload_forms
from privacy.homomorphic.wire import ciphertext_form, public_key_form

WIDE = profile_of("bfv-8192-public")
LONG = profile_of("bfv-8192-wide-public")
BOUND = 2**15


def noise_of(multiplier: str, by: NoiseBy = NoiseBy.GATEWAY_AND_KEY_HOLDER) -> SiteNoise:
    """Noise of a job whose uploads the gateway adds."""
    return SiteNoise(
        sites=3, tolerated=0, noise_multiplier=Parameter(multiplier), by=by, aggregation=Aggregation.GATEWAY
    )


def errors(before: bytes, after: bytes, layout: Layout) -> list[np.ndarray]:
    """What was added to the words of a body's first ciphertext, modulo each prime, for both polynomials."""
    form, primes = upload_forms(layout, fresh=False)[0], layout.profile.data_primes
    found = []
    one, two = (np.frombuffer(form.content(body[: form.size]), dtype="<u8").astype(object) for body in (before, after))
    for place in range(2 * len(primes)):
        part = slice(place * layout.profile.degree, (place + 1) * layout.profile.degree)
        prime = primes[place % len(primes)]
        moved = (two[part] - one[part]) % prime
        found.append(np.where(moved > prime // 2, moved - prime, moved))
    return found


def test_room_is_what_decryption_leaves_and_only_one_profile_has_enough() -> None:
    """With the flood on top the largest sum is still 17 deviations away from decrypting wrongly."""
    for profile in PROFILES.values():
        if profile.scheme is not Scheme.BFV:
            continue
        half = np.prod([float(prime) for prime in profile.data_primes]) / (2 * max(profile.plain_primes))
        own = (half / margin(profile)) ** 2
        assert flooding(profile) ** 2 + own <= (half / MARGIN) ** 2
        layout = Layout(profile=profile, values=8, bound=100, summands=16)
        found = leak(layout, 1)
        assert found is not None
        assert (found < Fraction(1, 2**20)) == (profile in (LONG, WIDE))
    assert (flooding(WIDE), flooding(LONG)) == (2**34, 2**50)


def test_what_the_errors_may_tell_is_paid_for_by_wider_noise() -> None:
    """Rho of sums with wider noise and rho of the errors are together at most the priced one; else it is refused."""
    layout = Layout(profile=WIDE, values=20_000, bound=BOUND, summands=16, tail=10**6)
    noise, rounds = noise_of("40"), 20
    require_hidden(layout, rounds, noise)
    errors_cost, priced = leak(layout, rounds), 1 / (2 * Fraction(40) ** 2)
    assert errors_cost is not None
    assert priced / (1 + HIDING) + errors_cost <= priced
    assert noise.share(Parameter("7")) == 49 * (1 + HIDING)
    assert noise_of("40", NoiseBy.SITES).share(Parameter("6")) == 12 * (1 + HIDING)
    with pytest.raises(InvalidError, match="bfv-8192-public"):
        require_hidden(layout, rounds, noise_of("100000"))
    narrow = Layout(profile=profile_of("bfv-4096-public"), values=8, bound=100, summands=16)
    for asked in (None, noise_of("0.5")):
        with pytest.raises(InvalidError, match="too little room"):
            require_hidden(narrow, 1, asked)


def test_a_flooded_sum_with_noise_decrypts_to_exactly_the_sum_and_that_noise() -> None:
    """At the layout's cap, over several ciphertexts and fields, with negative and with far too large noise."""
    layout = Layout(profile=WIDE, values=8192 * 3 + 5, bound=BOUND, summands=5, tail=2**15)
    assert (layout.fields, layout.ciphertexts) == (3, 2)
    draw = np.random.default_rng(3)
    pair = make_keys(WIDE)
    given = [draw.choice([-BOUND, BOUND, 17], layout.values).tolist() for _ in range(5)]
    total = Sum(layout)
    for values in given:
        total.add(encrypt(layout, pair.public, pack(layout, values)))
    noise = draw.integers(-(2**15), 2**15, layout.values, endpoint=True).tolist()
    total.add_slots(pack_noise(layout, noise))
    body = flooded(layout, total.body())
    assert body != total.body()
    found = unpack(layout, decrypt(layout, pair.secret, Sum.of_body(layout, body)))
    assert found == (np.sum(given, axis=0) + np.array(noise)).tolist()
    # Nothing is cut off: noise beyond every bound is added modulo the plain modulus like any other.
    huge = [2**70 + 3] * 7
    assert pack_noise(layout, huge)[0][:7] == [(2**70 + 3) % WIDE.plain_modulus] * 7


@pytest.mark.slow
def test_long_numbers_are_flooded_and_noised_exactly_too() -> None:
    """Under both plain moduli, at the layout's cap."""
    long = Layout(profile=LONG, values=5, bound=2**77, summands=3, tail=2**70)
    pair = make_keys(LONG)
    total = Sum(long)
    for _ in range(3):
        total.add(encrypt(long, pair.public, pack(long, [2**77, -(2**77), 1, 2, 3])))
    total.add_slots(pack_noise(long, [2**70, -(2**70), 5, 5, -5]))
    body = flooded(long, total.body())
    found = unpack(long, decrypt(long, pair.secret, Sum.of_body(long, body)))
    assert found == [3 * 2**77 + 2**70, -3 * 2**77 - 2**70, 8, 11, 4]


def test_the_flood_is_a_discrete_gaussian_of_the_declared_deviation_on_the_first_polynomial_alone() -> None:
    """Mean 0, deviation 2^34, the same error modulo each prime, no two alike; the second polynomial is untouched."""
    layout = Layout(profile=WIDE, values=10, bound=BOUND, summands=3)
    pair = make_keys(WIDE)
    body = aggregate(layout, [encrypt(layout, pair.public, pack(layout, [1] * 10)) for _ in range(3)])
    first, again, *second = errors(body, flooded(layout, body), layout)
    assert (first == again).all()
    assert not any(part.any() for part in second)
    drawn_errors = first.astype(float) / 2**34
    count = len(drawn_errors)
    assert count == WIDE.degree
    assert abs(drawn_errors.mean()) < 6 / sqrt(count)
    assert abs(drawn_errors.std() - 1) < 6 / sqrt(2 * count)
    assert abs((np.abs(drawn_errors) < 1).mean() - 0.6827) < 6 * sqrt(0.22 / count)
    assert len(set(first.tolist())) > count - 10
    other = errors(body, flooded(layout, body), layout)[0]
    assert abs(np.corrcoef(drawn_errors, other.astype(float))[0, 1]) < 6 / sqrt(count)


def test_only_sums_of_profiles_with_room_are_flooded() -> None:
    """Anything else is refused before a word of it is touched."""
    layout = Layout(profile=WIDE, values=10, bound=BOUND, summands=3)
    with pytest.raises(CorruptError):
        flooded(layout, b"no sum")
    seeded = next(one for one in PROFILES.values() if one.mode is Mode.SEEDED and one.scheme is Scheme.BFV)
    assert flooding(seeded) < 2**10


def test_noise_is_drawn_for_what_is_measured_and_a_noised_sum_stays_a_sum() -> None:
    """Places without a measurement get none; a number beyond what any sum can be is moved back."""
    found = drawn([(3, Fraction(10**8)), (2, Fraction(10**8))], 9, os.urandom)
    assert (len(found), found[5:], len(set(found[:5]))) == (9, [0] * 4, 5)
    with pytest.raises(InvalidError):
        drawn([(3, Fraction(4))], 2)
    assert with_noise([5, -90, 90], [1, -20, 20], 100) == [6, -100, 100]


def test_observers_of_noise_by_two_face_the_other_s_and_the_two_together_none() -> None:
    """Who only reads faces both; gateway, key holder and sites one, the priced one; a gateway that lies none."""
    delta = Delta.parse("0.000001")
    seen = {one.observer: one for one in observers(noise_of("4"), delta)}
    promised = job_epsilon(Gaussian(noise_multiplier=Parameter("4"), count=1), delta=delta).epsilon
    sites = ("one other site", "all other sites together", "key holder and all other sites together")
    for one in ("gateway", "key holder", *sites):
        assert (seen[one].known, seen[one].epsilon) == (1, promised)
    assert seen["whoever reads the result"].noise_multiplier == Parameter("5.656854")
    for one in ("gateway that lies about the sum", "one hostile site and gateway together"):
        assert seen[one].epsilon is None
    assert seen["gateway and key holder together"].epsilon is None
    assert observers(noise_of("4"), delta, present=3) == observers(noise_of("4"), delta)
    by_sites = {one.observer: one for one in observers(noise_of("4", NoiseBy.SITES), delta)}
    assert by_sites["key holder"].known == 0
    assert by_sites["gateway that lies about the sum"].known == 2
    assert "key holder that decrypts single uploads against the protocol" not in by_sites


@pytest.mark.parametrize("sum_and_noise", [-3, 0, 1, 5])
def test_a_site_beyond_its_bound_sees_a_bit_that_the_key_holder_s_noise_is_not_in(sum_and_noise: int) -> None:
    """Whether the job fails hangs on the others' sum and the gateway's noise alone: see `observers`."""
    layout = Layout(profile=WIDE, values=1, bound=BOUND, summands=3, tail=2 * 12 * 64)
    upload = pack_noise(layout, [layout.limit])[0]  # what a site encrypts nobody can look at
    others = pack_noise(layout, [sum_and_noise])[0]
    modulus = layout.profile.plain_modulus
    decrypted = [[(one + other) % modulus for one, other in zip(upload, others, strict=True)]]
    if sum_and_noise > 0:
        with pytest.raises(CorruptError):
            unpack(layout, decrypted)
    else:
        assert unpack(layout, decrypted) == [layout.limit + sum_and_noise]


def test_who_adds_noise_is_written_where_it_is_not_the_usual_one() -> None:
    """A plan of before reads as it did; what cannot be is refused, however it is written."""
    for noise in (noise_of("4"), noise_of("4", NoiseBy.SITES)):
        assert SiteNoise.from_json(noise.to_json()) == noise
    plain = SiteNoise(sites=3, tolerated=1, noise_multiplier=Parameter("4"))
    assert set(plain.to_json()) == {"noise_multiplier", "sites", "tolerated"}
    for changed in (
        {"by": "sites"},
        {"aggregation": "key-holder", "by": "sites"},
        {"aggregation": "key-holder", "by": "gateway-and-key-holder"},
        {"aggregation": "semi-honest-gateway"},
        {"aggregation": "semi-honest-gateway", "by": "gateway-and-key-holder"},  # and a site is tolerated
    ):
        with pytest.raises(InvalidError):
            SiteNoise.from_json(plain.to_json() | changed)


def test_sites_of_a_job_with_noise_by_two_give_exact_numbers_in_steps() -> None:
    """What they add is nothing; what gateway and key holder add is all of it, each."""
    noise, deviation = noise_of("4"), Parameter("4")
    steps = noise.refinement(deviation)
    addition = Addition(count=3, deviation=deviation, bound=50, refined=steps)
    assert noised([7, -50, 400], [addition], noise) == [7 * steps, -50 * steps, 50 * steps]
    draws = 2000
    ((count, variance),) = variances([replace(addition, count=draws)], noise)
    assert (count, variance) == (draws, 16 * steps**2 * (1 + HIDING))
    found = np.array(drawn([(draws, variance)], draws), dtype=float)
    assert float(found.var()) == pytest.approx(float(variance), rel=0.2)
    assert noise.tail(deviation, steps) == 2 * noise.adder_tail(deviation, steps)
    assert noise.excess() == noise.excess(3) == 2


def test_where_sites_add_noise_the_errors_are_held_to_what_all_of_theirs_is_priced_at() -> None:
    """The key holder is told the epsilon of K shares: rho of the errors is a part of that price, not of the larger."""
    layout, rounds = Layout(profile=WIDE, values=8192 * 3, bound=100, summands=100, tail=10**4), 1
    errors_cost = leak(layout, rounds)
    assert errors_cost is not None
    least = HIDING / (1 + HIDING) / (2 * errors_cost)  # the largest z^2 that pays
    written = Parameter(str(int(float(least) ** 0.5)))
    two = SiteNoise(
        sites=100, tolerated=0, noise_multiplier=written, by=NoiseBy.GATEWAY_AND_KEY_HOLDER,
        aggregation=Aggregation.GATEWAY,
    )  # fmt: skip
    require_hidden(layout, rounds, two)
    require_hidden(layout, rounds, replace(two, by=NoiseBy.SITES))
    shared = replace(two, by=NoiseBy.SITES, tolerated=50)
    with pytest.raises(InvalidError, match="too little room"):
        require_hidden(layout, rounds, shared)
    require_hidden(layout, rounds, replace(shared, noise_multiplier=Parameter(str(int(float(least / 2) ** 0.5)))))


def test_a_digest_confirms_no_guess_even_under_a_public_key_that_hides_nothing() -> None:
    """A key holder can make a key under which c0 has no randomness, and c1 shows its own; the site's errors stay."""
    layout = Layout(profile=WIDE, values=8, bound=100, summands=3)
    form, key = public_key_form(WIDE, 0), bytearray(make_keys(WIDE).public)
    primes, special = WIDE.coefficient_primes, WIDE.coefficient_primes[-1]
    words = np.frombuffer(key, dtype="<u8", count=2 * len(primes) * WIDE.degree, offset=len(form.prefix))
    words.reshape(2, len(primes), WIDE.degree)[0] = 1
    words.reshape(2, len(primes), WIDE.degree)[1] = np.array([special % prime for prime in primes], dtype="<u8")[
        :, None
    ]
    require_public_key(WIDE, bytes(key))
    bare = errors(*(_bare(layout, bytes(key)) for _ in range(2)), layout)
    assert not any(part.any() for part in bare[:2])
    assert set(bare[2].tolist()) == {-2, -1, 0, 1, 2}  # the difference of two ternary u, in the clear
    first, again, *_ = errors(*(encrypt(layout, bytes(key), pack(layout, [7] * 8)) for _ in range(2)), layout)
    assert (first == again).all()
    moved = first.astype(float) / VEIL  # the difference of two uniform ones: within 2, of variance 2/3
    assert np.abs(moved).max() < 2
    assert abs(moved.var() - 2 / 3) < 6 * sqrt(0.7 / len(moved))
    assert len(set(first.tolist())) > 0.95 * len(first)


def _bare(layout: Layout, key: bytes) -> bytes:
    """What SEAL makes by itself."""
    place, plain, found = context(WIDE, 0), seal.Plaintext(), seal.Ciphertext()
    seal.BatchEncoder(place).encode(pack(layout, [7] * 8)[0], plain)
    seal.Encryptor(place, load(seal.PublicKey(), place, key)).encrypt(plain, found)
    return save(found, ciphertext_form(WIDE, 0, fresh=True))


def test_uploads_are_veiled_wherever_a_gateway_may_add_them_far_below_the_flood() -> None:
    """Every profile with room for the flood has the sites' errors, 2^14 times smaller at least."""
    for profile in PROFILES.values():
        if profile.scheme is Scheme.BFV:
            assert bool(veil(profile)) == (profile in (LONG, WIDE))
            assert veil(profile) << 14 <= flooding(profile)
            layout = Layout(profile=profile, values=1, bound=100, summands=3)
            if not veil(profile):  # however little noise there is to be worth anything
                with pytest.raises(InvalidError, match="too little room"):
                    require_hidden(layout, 1, noise_of(str(LEAST_NOISE)))
