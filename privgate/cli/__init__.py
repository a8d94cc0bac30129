"""The users' command, `privgate`.

Rules
-----
1. `--help` loads neither the SDK nor an HTTP client: commands import what they need when they run.
2. What is asked for goes to standard output, everything else to standard error; `--json` is for machines.
3. A token is read from a prompt, a file or the environment, never from an argument, which others can see.
4. Errors are one sentence, with the field and the decision they are about; the exit code says what kind of no it was.

Reference: docs/CLI.md.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from privgate.cli.app import app

    app()
