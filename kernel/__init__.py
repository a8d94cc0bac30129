"""The shared kernel: the few small nouns that every other package speaks.

Rules
-----
1. Standard library and `cryptography` only; no I/O, no global state, no clock and no randomness of its own.
2. Nothing here knows a dataset, a budget or a log. What only one package needs lives in that package.
3. Everything is a frozen value or a pure function, so that the offline verifier can trust it on sight.
"""
