"""Documents that people write: JSON or YAML, with exact numbers.

Rules
-----
1. A number with a fraction becomes its decimal text, as it is written: no binary float is ever in between.
2. YAML is read with the safe loader's plain kinds: no tags, no aliases, no dates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernel.errors import InvalidError, TooLargeError

LIMIT = 8 * 2**20


def read_document(path: Path) -> dict[str, Any]:
    """Read an object from a file whose name says whether it is YAML; raise `InvalidError` otherwise."""
    if path.stat().st_size > LIMIT:
        raise TooLargeError(f"a document has at most {LIMIT} bytes", field=path.name)
    try:
        text = path.read_text(encoding="utf-8")
        body = _yaml(text) if path.suffix.lower() in (".yaml", ".yml") else json.loads(text, parse_float=str)
    except ValueError:
        raise InvalidError(f"`{path.name}` is not valid JSON or YAML in UTF-8", field=path.name) from None
    if not isinstance(body, dict):
        raise InvalidError(f"`{path.name}` must hold an object", field=path.name)
    return body


def _yaml(text: str) -> Any:
    import yaml

    class Exact(yaml.SafeLoader):
        """Reads numbers with a fraction, and dates, as the text that they are."""

    for tag in ("float", "timestamp"):
        Exact.add_constructor(f"tag:yaml.org,2002:{tag}", lambda _, node: str(node.value))
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise InvalidError("YAML aliases are not read here: write it out")
        # Exact is the safe loader with fewer kinds.
        return yaml.load(text, Loader=Exact)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error
