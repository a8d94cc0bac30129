"""Why who decrypts a sum that the gateway made learns the sum and nothing else, and what that costs. Pure.

Rules
-----
1. The gateway floods every sum that it makes: to each coefficient of c0 it adds a discrete Gaussian of the profile's
   deviation f (`profiles.flooding`), drawn exactly, modulo each prime.
2. Each site adds uniform errors of its own to c0 of its upload before it signs (`profiles.veil`), where there is room.
3. A profile whose room for either is too small for the job is refused (`require_hidden`). There is no sum without.

What is hidden
--------------
Let q be the coefficient modulus, t the plain modulus. Encrypting m adds round(q m / t) = q m / t + r(m) to c0,
each coefficient of r(m) in [-1/2, 1/2]; everything else in a ciphertext is randomness that does not depend on m,
however the public key was made. So of a sum of K uploads, with the gateway's own noise n added in the clear, whoever
has the secret key, and is even given all of that randomness, sees modulo q

    (q / t) M + R + F,   M = m_1 + ... + m_K + n mod t,   R = r(m_1) + ... + r(m_K) + r(n),   F the flood,

because the multiples of t that M lacks are multiples of q there. M is what the noise is priced for. Given M, R is a
number of carries: R = -(q M mod t) / t modulo 1, so that two values of it differ by whole numbers, and by K + 1 at most
in each coefficient. F is a discrete Gaussian in each, and a shift of the integers by d costs it d^2 / 2 f^2 in zCDP
(Canonne, Kamath and Steinke 2020, theorem 4), whatever M is: by joint quasi-convexity also where m_i and n are drawn.
With C ciphertexts of N coefficients and T rounds, everything beside the sums costs at most

    rho = T C N (K + 1)^2 / 2 f^2.

What it costs
-------------
The priced noise is of multiplier z: rho_z = 1 / 2 z^2 for each Gaussian. Where the gateway adds, every deviation is
wider by sqrt(1 + h), h = `noise.HIDING`, so that the sums cost rho_z / (1 + h), and sums and errors together at most
rho_z if rho <= rho_z h / (1 + h). That is what `require_hidden` demands, over all rounds together although each that is
priced could take as much. Where sites add the noise, the key holder faces that of all K, is told the smaller epsilon of
it, and rho is held to this part of the smaller price. Of an exact result, which has no price, rho is at most LEAST.

What digests tell
-----------------
The key holder also reads a digest of each upload. The proof above is not of that: who knows all randomness confirms
every guess of m_i by it, and a key holder can make a public key under which c0 has none that c1 does not show. Hence
the sites' own errors. Whoever knows everything else, all other sites' uploads included, sees them under the flood,
which is 2^14 times wider: each of the N coefficients of a guessed c0 is right with a chance of 2^-20 at most. That the
digest of what nobody can guess tells nothing is assumed of SHA-256, as of a random oracle, and not priced.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from kernel.errors import InvalidError
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import HIDING, SiteNoise
from privacy.homomorphic.profiles import flooding, veil

LEAST: Final = Fraction(1, 2**20)


def leak(layout: Layout, rounds: int) -> Fraction | None:
    """What the errors of all flooded sums tell beside the sums, in zCDP; nothing is said if there is no room."""
    deviation = flooding(layout.profile)
    if not deviation:
        return None
    coefficients = rounds * layout.ciphertexts * layout.profile.degree
    return Fraction(coefficients * (layout.summands + 1) ** 2, 2 * deviation**2)


def require_hidden(layout: Layout, rounds: int, noise: SiteNoise | None) -> None:
    """Return if sums that the gateway makes tell nothing but themselves; raise `InvalidError` otherwise."""
    found, most = leak(layout, rounds), LEAST
    if noise is not None:
        faced = 1 if noise.by_two else noise.excess()
        most = HIDING / (1 + HIDING) / (2 * faced * Fraction(noise.noise_multiplier.number) ** 2)
    if found is None or found > most or not veil(layout.profile):
        raise InvalidError(
            f"profile `{layout.profile.name}` has too little room to hide how a sum came about: where the gateway "
            "adds, choose `bfv-8192-public` or `bfv-8192-wide-public`, fewer numbers, or fewer rounds",
            field="profile",
        )
