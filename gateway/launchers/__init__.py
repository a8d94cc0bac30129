"""Launchers: where a task's confined child runs. They execute; they never decide or charge.

They sign nothing but the documents that a worker's turn makes of ciphertexts (`turns`).
"""
