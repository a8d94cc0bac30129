"""Models as data: a small graph of allowed operations, and the numbers that fill it.

Nouns: model graph (structure), weight (a named array that is learned), operation, template (a graph from a few
choices).

Rules
-----
1. A graph is data. Nothing here runs, loads or evaluates code that came from outside.
2. `spec`, `ops`, `check` and `templates` are standard library only. `weights` and `forward` need numpy;
   `torch_module` is the only module with torch, and only the child imports it.
"""
