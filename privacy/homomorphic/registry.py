"""The registry: every profile there is.

Rules
-----
1. Closed: a name that is not here is refused. A profile never changes; another set of parameters has another name.
2. The primes are those that SEAL makes for these bits; the tests make them again and look at each by themselves.

Form: docs/formats/he-profiles.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kernel.canonical import Digest
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import Slug
from privacy.homomorphic.profiles import Mode, Profile, Scheme

_PUBLIC_4096 = Profile(
    name=Slug("bfv-4096-public"),
    scheme=Scheme.BFV,
    mode=Mode.PUBLIC_KEY,
    degree=4096,
    coefficient_primes=(1152921504606830593, 562949953216513),
    plain_primes=(140737488273409,),
    most_fields=3,
    most_summands=128,
)
_SEEDED_2048 = Profile(
    name=Slug("bfv-2048-seeded"),
    scheme=Scheme.BFV,
    mode=Mode.SEEDED,
    degree=2048,
    coefficient_primes=(18014398509404161,),
    plain_primes=(17592186028033,),
    most_fields=3,
    most_summands=64,
)
_PUBLIC_8192 = Profile(
    name=Slug("bfv-8192-public"),
    scheme=Scheme.BFV,
    mode=Mode.PUBLIC_KEY,
    degree=8192,
    coefficient_primes=(1125899906629633, 1125899906826241, 72057594037616641),
    plain_primes=(1152921504606830593,),
    most_fields=3,
    most_summands=4096,
)
_WIDE_PUBLIC = Profile(
    name=Slug("bfv-2048-wide-public"),
    scheme=Scheme.BFV,
    mode=Mode.PUBLIC_KEY,
    degree=2048,
    coefficient_primes=(18014398509404161,),
    plain_primes=(274877816833, 274877820929),
    most_summands=64,
)
_WIDE_8192 = Profile(
    name=Slug("bfv-8192-wide-public"),
    scheme=Scheme.BFV,
    mode=Mode.PUBLIC_KEY,
    degree=8192,
    coefficient_primes=(1125899906629633, 1125899906826241, 72057594037616641),
    plain_primes=(17592185438209, 17592186028033),
    most_summands=64,
)
_WIDE_SEEDED = Profile(
    name=Slug("bfv-2048-wide-seeded"),
    scheme=Scheme.BFV,
    mode=Mode.SEEDED,
    degree=2048,
    coefficient_primes=(18014398509404161,),
    plain_primes=(17592185982977, 17592186028033),
    most_summands=64,
)
_INFER_LINEAR = Profile(
    name=Slug("ckks-4096-linear"),
    scheme=Scheme.CKKS,
    mode=Mode.SEEDED,
    degree=4096,
    coefficient_primes=(274877816833, 1073692673, 1099511480321),
    scale_bits=30,
    depth=1,
    most_summands=1024,
    expected_error="0.00001",
)
_INFER_SQUARE = Profile(
    name=Slug("ckks-8192-square"),
    scheme=Scheme.CKKS,
    mode=Mode.SEEDED,
    degree=8192,
    coefficient_primes=(70368743669761, 1073479681, 1073643521, 1073692673, 1152921504606830593),
    scale_bits=30,
    depth=3,
    most_summands=1024,
    expected_error="0.0001",
)
_BLIND = Profile(
    name=Slug("ckks-8192-blind"),
    scheme=Scheme.CKKS,
    mode=Mode.SEEDED,
    degree=8192,
    coefficient_primes=(17592186028033, 1073430529, 1073479681, 1073643521, 1073692673, 18014398508400641),
    scale_bits=30,
    depth=4,
    most_summands=1024,
    expected_error="0.0001",
)

PROFILES: Mapping[Slug, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            _PUBLIC_4096, _SEEDED_2048, _PUBLIC_8192, _WIDE_PUBLIC, _WIDE_8192, _WIDE_SEEDED,
            _INFER_LINEAR, _INFER_SQUARE, _BLIND,
        )
    }
)  # fmt: skip


def profile_of(name: str) -> Profile:
    """Look a profile up by its name; raise `NotFoundError` if there is none."""
    try:
        return PROFILES[Slug(name)]
    except (KeyError, InvalidError):
        raise NotFoundError(f"no such profile; there are {', '.join(PROFILES)}", field="profile") from None


def profile_by_digest(digest: Digest) -> Profile:
    """Look a profile up by its digest; raise `NotFoundError` if there is none."""
    for profile in PROFILES.values():
        if profile.digest == digest:
            return profile
    raise NotFoundError("no profile has this digest", field="profile")
