"""Lines of tasks: told as they come, kept beside those of tasks that were not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.tasklines import chosen_of, keep, told


def test_tasks_that_were_not_measured_keep_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that were are replaced, all of them, and stand at the end."""
    path = tmp_path / "lines.jsonl"
    first = told([{"task": "a", "x": 1}, {"task": "b", "x": 2}, {"task": "a", "x": 3}])
    assert capsys.readouterr().out.splitlines() == first
    keep(path, first)
    keep(path, told([{"task": "a", "x": 4}]))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"task": "b", "x": 2},
        {"task": "a", "x": 4},
    ]


def test_tasks_are_chosen_by_name() -> None:
    """None given means all."""
    tasks = [SimpleNamespace(name=name) for name in "abc"]
    assert [task.name for task in chosen_of(tasks, ["c", "a"])] == ["a", "c"]
    assert list(chosen_of(tasks, None)) == tasks
