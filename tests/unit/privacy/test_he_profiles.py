"""Profiles and layouts: the primes are SEAL's, the security is the standard's, and no sum can overflow."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as seal
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, NotFoundError
from privacy.homomorphic.layout import Layout, tail_of
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.profiles import MARGIN, MOST_COEFFICIENT_BITS, Profile, Scheme, margin
from privacy.homomorphic.quantising import Grid
from privacy.homomorphic.registry import PROFILES, profile_by_digest, profile_of
from privacy.homomorphic.tenseal_backend import approximate
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.wire import ciphertext_bytes
from tests.support.homomorphic import SUMMING, encrypting_key, keys_of

VECTORS = Path(__file__).parents[2] / "vectors/homomorphic"
PAGE = (Path(__file__).parents[3] / "docs/formats/he-profiles.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_primes_are_those_that_seal_makes(profile: Profile) -> None:
    """And each is one by itself: prime, and one more than a multiple of 2N."""
    made = seal.CoeffModulus.Create(profile.degree, list(profile.coefficient_bits))
    assert tuple(prime.value() for prime in made) == profile.coefficient_primes
    if profile.plain_primes:
        bits = [prime.bit_length() for prime in profile.plain_primes]
        assert tuple(p.value() for p in seal.PlainModulus.Batching(profile.degree, bits)) == profile.plain_primes
    for prime in (*profile.coefficient_primes, *profile.plain_primes):
        assert prime % (2 * profile.degree) == 1
        assert all(pow(base, prime - 1, prime) == 1 for base in (2, 3, 5, 7, 11, 13))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_profile_has_128_bits(profile: Profile) -> None:
    """By the standard's table, and by SEAL's own check."""
    assert sum(profile.coefficient_bits) <= MOST_COEFFICIENT_BITS[profile.degree]
    assert math.prod(profile.coefficient_primes).bit_length() <= MOST_COEFFICIENT_BITS[profile.degree]
    assert context(profile).parameters_set()


def test_a_profile_beyond_the_table_cannot_be_made() -> None:
    """One bit more than the standard allows is refused."""
    known = profile_of("bfv-2048-seeded")
    with pytest.raises(InvalidError):
        Profile(**{**fields(known), "coefficient_primes": (36028797018652673,)})
    with pytest.raises(InvalidError):
        Profile(**{**fields(known), "degree": 1024})


def fields(profile: Profile) -> dict[str, object]:
    """What a profile is made of."""
    return {name: getattr(profile, name) for name in Profile.__dataclass_fields__}


@pytest.mark.parametrize("name", SUMMING)
def test_the_largest_sum_decrypts(name: str) -> None:
    """Computed, 17 standard deviations of room; measured, the noise of a sum is no larger than computed."""
    profile = profile_of(name)
    assert margin(profile) >= MARGIN
    place, pair = context(profile), keys_of(name)
    from privacy.homomorphic.tenseal_backend.raw import load

    secret = load(seal.SecretKey(), place, pair.secret.reveal()[: len(pair.secret) // profile.instances])
    decryptor, encoder, evaluator = seal.Decryptor(place, secret), seal.BatchEncoder(place), seal.Evaluator(place)
    key = encrypting_key(profile, pair)
    kind = seal.SecretKey if key == pair.secret.reveal() else seal.PublicKey
    encryptor = seal.Encryptor(place, load(kind(), place, key[: len(key) // profile.instances]))
    plain, total = seal.Plaintext(), None
    encoder.encode([profile.plain_primes[0] - 1] * profile.slots, plain)
    summands = min(profile.most_summands, 128)
    for _ in range(summands):
        one = seal.Ciphertext()
        (encryptor.encrypt_symmetric if kind is seal.SecretKey else encryptor.encrypt)(plain, one)
        total = one if total is None else total
        if total is not one:
            evaluator.add_inplace(total, one)
    room = math.log2(margin(profile) * math.sqrt(profile.most_summands / summands))
    # The worst of N coefficients lies below 6 deviations; SEAL counts whole bits.
    assert decryptor.invariant_noise_budget(total) >= math.floor(room - math.log2(6)) >= 1


def test_the_page_has_every_profile() -> None:
    """With its lengths, which nobody computes by hand twice."""
    for profile in PROFILES.values():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{profile.name}`")]
        assert f"{ciphertext_bytes(profile, fresh=True):,}" in line
        assert ", ".join(map(str, profile.coefficient_bits)) in line
        assert profile.scheme is Scheme.CKKS or f"{profile.most_summands:,}" in line


def test_a_profile_never_changes() -> None:
    """Digests are pinned: documents of years ago name them."""
    pinned = json.loads((VECTORS / "profiles.json").read_text(encoding="utf-8"))
    assert {name: str(profile.digest) for name, profile in PROFILES.items()} == pinned
    assert profile_by_digest(Digest(pinned["bfv-2048-seeded"])).name == "bfv-2048-seeded"


@pytest.mark.parametrize("name", ["ckks-4096-linear", "ckks-8192-square", "ckks-8192-blind"])
def test_the_expected_error_holds_at_full_depth(name: str) -> None:
    """Squared as often as the profile allows, on numbers up to 1: within the error, rounding included.

    Rotated as well, where a profile is for that: `linear` is for one ciphertext a feature, which needs none.
    """
    profile, source = profile_of(name), np.random.default_rng(3)
    keys = approximate.make_own_keys(profile, (2,), products=True)
    given = approximate.load_evaluation_keys(profile, keys.evaluation, (2,), products=True)
    numbers = source.uniform(-1, 1, profile.slots)
    (one,) = approximate.load_vectors(profile, approximate.encrypt_vectors(profile, keys.secret, [numbers.tolist()]), 1)
    evaluator = seal.Evaluator(context(profile))
    for _ in range(profile.depth):
        evaluator.square_inplace(one)
        evaluator.relinearize_inplace(one, given.products)
        evaluator.rescale_to_next_inplace(one)
        numbers = numbers**2
    if profile.depth > 1:
        evaluator.rotate_vector_inplace(one, 2, given.rotations)
        numbers = np.roll(numbers, -2)
    level = len(profile.data_primes) - profile.depth
    body, scale = approximate.save_results(profile, [one]), one.scale
    (found,) = approximate.read_results(profile, keys.secret, body, count=1, level=level, scale=scale)
    assert np.abs(np.array(found) - numbers).max() < float(profile.expected_error)
    for wrong in ({"level": level + 1}, {"scale": scale * 2}, {"count": 2}):
        with pytest.raises(CorruptError):
            approximate.read_results(
                profile, keys.secret, body, **({"count": 1, "level": level, "scale": scale} | wrong)
            )
    with pytest.raises(CorruptError):
        approximate.load_evaluation_keys(profile, keys.evaluation, (4,), products=True)
    with pytest.raises(CorruptError):
        approximate.load_evaluation_keys(profile, keys.evaluation, products=True)


def test_unknown_profiles_are_refused() -> None:
    """By name and by digest."""
    with pytest.raises(NotFoundError):
        profile_of("bfv-1024-tiny")
    with pytest.raises(NotFoundError):
        profile_of("../etc")
    with pytest.raises(NotFoundError):
        profile_by_digest(Digest.of(b"mine"))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_sum_overflows_at_the_cap(data: st.DataObject) -> None:
    """Whatever the layout, extreme summands as many as it allows, and the whole tail, read back exactly."""
    profile = profile_of(data.draw(st.sampled_from(SUMMING)))
    wide = profile.instances > 1
    bound = data.draw(st.integers(1, 2**60 if wide else 2**24))
    tail = tail_of(data.draw(st.integers(0, 1000)))
    most = Layout(profile=profile, values=1, bound=bound, summands=1, tail=tail).most_summands
    summands = data.draw(st.integers(1, most))
    values = data.draw(st.integers(1, 40))
    layout = Layout(profile=profile, values=values, bound=bound, summands=summands, tail=tail)
    assert (1 << (layout.fields * layout.field_bits)) <= profile.plain_modulus
    assert layout.limit < 1 << (layout.field_bits - 1)
    signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=values, max_size=values))
    extreme = pack(layout, [sign * bound for sign in signs])
    rest = pack(layout, [sign * tail for sign in signs])
    total = [
        [(summands * a + b) % prime for a, b in zip(one, other, strict=True)]
        for index, (one, other) in enumerate(zip(extreme, rest, strict=True))
        for prime in [profile.plain_primes[index % profile.instances]]
    ]
    assert unpack(layout, total) == [sign * layout.limit for sign in signs]


@pytest.mark.parametrize("name", SUMMING)
def test_one_summand_more_is_refused(name: str) -> None:
    """The refusal says how many would fit."""
    profile = profile_of(name)
    bound = 2**60 if profile.instances > 1 else 2**20
    most = Layout(profile=profile, values=1, bound=bound, summands=1).most_summands
    Layout(profile=profile, values=1, bound=bound, summands=most)
    with pytest.raises(InvalidError, match=str(most)):
        Layout(profile=profile, values=1, bound=bound, summands=most + 1)


def test_noise_needs_room() -> None:
    """RULES 38: what is wide enough without noise is refused, or takes fewer fields, with it."""
    profile = profile_of("bfv-4096-public")
    bare = Layout(profile=profile, values=9000, bound=2**15 - 1, summands=128)
    noised = Layout(profile=profile, values=9000, bound=2**15 - 1, summands=128, tail=tail_of(32 * 600))
    assert (bare.fields, noised.fields) == (2, 1)
    assert noised.upload_bytes > bare.upload_bytes
    with pytest.raises(InvalidError):
        Layout(profile=profile, values=9000, bound=2**40, summands=128, tail=tail_of(32 * 600))


@pytest.mark.parametrize("name", SUMMING)
def test_what_is_no_sum_is_an_error(name: str) -> None:
    """Digits beyond the last field, values where there are none, sums beyond the limit, slots out of range."""
    profile = profile_of(name)
    layout = Layout(profile=profile, values=10, bound=1000, summands=3)
    good = pack(layout, [7] * 10)
    assert unpack(layout, good) == [7] * 10
    last, prime = len(good[0]) - 1, profile.plain_primes[0]
    wrong = [(0, prime // 2), (last, 5), (3, 3001 if profile.instances > 1 else 4000), (0, -1), (0, prime)]
    for slot, number in wrong:
        bad = [list(numbers) for numbers in good]
        bad[0][slot] = number
        with pytest.raises(CorruptError):
            unpack(layout, bad)
    with pytest.raises(CorruptError):
        unpack(layout, good[:-1])
    for values in ([7] * 9, [3001] * 10, [-(2**63)] * 10, [2**80] * 10):
        with pytest.raises(InvalidError):
            pack(layout, values)


def test_a_layout_is_read_strictly() -> None:
    """What it writes comes back; anything else is refused."""
    layout = Layout(profile=profile_of("bfv-2048-wide-public"), values=2016, bound=2**60, summands=8, tail=5)
    body = layout.to_json()
    assert Layout.from_json(body) == layout
    assert layout.upload_bytes <= 100_000
    for name, value in (("bound", "01"), ("bound", 7), ("tail", "-1"), ("summands", True), ("values", 0)):
        with pytest.raises(InvalidError):
            Layout.from_json({**body, name: value})
    with pytest.raises(InvalidError):
        Layout.from_json({**body, "fields": 9})


def test_a_model_update_is_as_long_as_was_promised() -> None:
    """271,098 parameters of 16 bits: at most 2.1 times their float32 with a public key, 1.05 seeded."""
    for name, most in (("bfv-4096-public", 2.1), ("bfv-2048-seeded", 1.05)):
        layout = Layout.plain(profile_of(name), 271_098, 16)
        assert layout.upload_bytes <= most * 4 * 271_098


def test_numbers_are_clipped_and_rounded_on_a_declared_grid() -> None:
    """To the nearest point without noise; towards zero with it, so that no norm grows. What is no number counts 0."""
    grid = Grid.of_bits(5.0, 16)
    found = grid.quantise(np.array([0.0, 5.0, -7.0, np.inf, -np.inf, np.nan, 1.6 * grid.quantum]))
    assert found.tolist() == [0, 32767, -32767, 32767, -32767, 0, 2]
    assert np.abs(grid.restore([1, -2]) - np.array([grid.quantum, -2 * grid.quantum])).max() == 0
    noised = Grid.for_noise(1.0, 0.01)
    draws = np.random.default_rng(5).normal(size=(200, 50))
    for vector in draws / np.linalg.norm(draws, axis=1, keepdims=True):
        assert np.linalg.norm(noised.quantise(vector)) <= 1.0 / noised.quantum
    assert noised.quantise(np.array([1.9, -1.9]) * noised.quantum).tolist() == [1, -1]
