"""What can be made of a released model: smaller ones, and the record of how. Post-processing, which costs nothing.

Rules
-----
1. Nothing here reads a row of anybody who is protected: a release, and rows that are public, made up, or drawn from a
   private release.
2. Each step is recorded, with the rows that it read; what comes out carries the record (docs/formats/lineage.md).
3. The guarantee carries over. Figures of an evaluation do not, and the record says so.
"""
