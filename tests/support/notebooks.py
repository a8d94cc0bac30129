"""A notebook run cell by cell, as a person would, and its outputs in the form in which notebooks keep them.

No kernel and no server: a cell is Python, its outputs are what it prints and what its last line is. That is all a
tutorial needs, and it is what Jupyter shows.
"""

from __future__ import annotations

import ast
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

Output = dict[str, Any]
Cell = dict[str, Any]

FORMS = (("_repr_svg_", "image/svg+xml"), ("_repr_html_", "text/html"))
MASKS = (
    (re.compile(r"\b[a-z]{3,4}_[a-z2-7]{26}\b"), "<id>"),
    (re.compile(r"sha256:[0-9a-f]{16,64}"), "<digest>"),
    (re.compile(r"https://localhost:\d+"), "<gateway>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)"), "<time>"),
    (re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"), "<number>"),
)
"""What differs from run to run: noise is drawn anew, and so are names."""


def read(path: Path) -> dict[str, Any]:
    """The notebook."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_of(notebook: dict[str, Any]) -> list[Cell]:
    """Its cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook: dict[str, Any], name: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run every cell in one name space; return the notebook with the outputs of this run."""
    ran = json.loads(json.dumps(notebook))
    for count, cell in enumerate(code_of(ran), 1):
        cell["execution_count"] = count
        cell["outputs"] = _run("".join(cell["source"]), f"{name}[{count}]", names, count)
    return dict(ran)


def _run(source: str, place: str, names: dict[str, Any], count: int) -> list[Output]:
    statements = ast.parse(source).body
    last = statements.pop() if isinstance(statements[-1], ast.Expr) else None
    printed, outputs = io.StringIO(), list[Output]()
    with redirect_stdout(printed):
        exec(compile(ast.Module(statements, []), place, "exec"), names)
        value = None
        if isinstance(last, ast.Expr):
            if isinstance(last.value, ast.Call) and getattr(last.value.func, "id", "") == "print":
                exec(compile(ast.Module([last], []), place, "exec"), names)
            else:
                value = eval(compile(ast.Expression(last.value), place, "eval"), names)
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())})
    if value is not None:
        outputs.append(
            {"data": _shown(value), "execution_count": count, "metadata": {}, "output_type": "execute_result"}
        )
    return outputs


def _shown(value: Any) -> dict[str, Any]:
    found = {kind: _lines(getattr(value, method)()) for method, kind in FORMS if hasattr(value, method)}
    return {**found, "text/plain": _lines(repr(value))}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def write(path: Path, notebook: dict[str, Any]) -> None:
    """Write a notebook as Jupyter does."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def masked(cell: Cell) -> list[Any]:
    """A cell's outputs without what differs from run to run; of a picture only that there is one."""
    found: list[Any] = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            found.append(_mask("".join(output["text"])))
        else:
            plain = {kind: _mask("".join(text)) for kind, text in output["data"].items() if kind != "image/svg+xml"}
            found.append((sorted(output["data"]), plain))
    return found


def _mask(text: str) -> str:
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return text
