"""Measurements, each against the nearest plain thing in the same run; nothing here is imported by the program.

Rules
-----
1. A claim of speed is a ratio: both sides run interleaved in one process or against one server, several times; the
   median of the paired ratios is reported.
2. The number of threads is fixed. Absolute figures are given with the machine they came from, for orientation only.
3. Results are JSON lines `{quantity, case, value, unit, baseline}`; the files under `results/` are made by the scripts.
"""
