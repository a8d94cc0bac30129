"""Accounting: from what a mechanism did to what it cost, exactly and on every machine alike.

Nouns: mechanism use (what was done), price (Renyi divergence at one integer order), job epsilon (one job alone),
calibration (from a target to a noise multiplier).

Rules
-----
1. A price is a pure function of a mechanism use and an integer order, computed in decimal: no float, no library.
2. Whatever cannot be priced is refused. Whatever is rounded is rounded against the one who spends.
3. `google` alone imports dp-accounting; only the worker imports `google`.
"""
