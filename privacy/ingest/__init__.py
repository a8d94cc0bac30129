"""Ingest: an upload becomes encrypted parts in a confined child, or a list of what was wrong with it.

Nouns: upload (the staged file), form (how it is written), record (one row of it), rule, problem, side (of the split),
fingerprint.

Rules
-----
1. `formats`, `assignment` and `fingerprints` are light: the API process and the worker import them. The rest is child
   only, because it parses what strangers wrote.
2. All or nothing: one problem refuses the file. A problem names row, column and rule, never the value.
3. Nothing about a row is decided by looking at rows of other units.
4. Plaintext is never written to disk, not even for sorting.
"""
