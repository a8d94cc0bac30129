"""Evidence checks: questions to a history, grouped by what they are about. `catalogue` lists them all.

Rules
-----
1. A check is a pure function of a history; it has a question that a person can read, and it names its sources.
2. Each has five fixtures in the tests: clean, mutant, benign, empty, source missing. A check that cannot fail is none.
3. Meanings do not change: another question is another check.
"""
