"""SEAL, through TenSEAL's raw binding: keys, encryption, sums, decryption. The only room that imports tenseal.

Rules
-----
1. Runs in the confined child (`privacy.homomorphic.runner`), one thread; tests and benchmarks may call it directly.
2. What comes in has passed `validator`; what goes out is raw SEAL bytes in the one form of `wire`.
3. Parameters come from the registry, at 128 bits of security; SEAL has to make the same primes and the same names of
   parameters, or nothing is done.
4. No noise budget is ever read, and no text of SEAL's leaves.

Why not TenSEAL's own vectors and contexts: docs/adr/0019-seal-through-the-raw-binding.md.
"""
