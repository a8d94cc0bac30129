"""The entry point of `privgate-gateway`: the base install has the command and not what it runs on.

Rules
-----
1. Only the standard library is imported here, so that a missing extra is a sentence and not a traceback.
"""

from __future__ import annotations

import sys

REFUSED = 2


def main() -> None:
    """Run the operator's command, or say what to install."""
    try:
        from gateway.cli import main as run
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"privgate-gateway: `{error.name}` is not installed here: install privgate with its extra `server`\n"
        )
        raise SystemExit(REFUSED) from None
    run()


if __name__ == "__main__":
    main()
