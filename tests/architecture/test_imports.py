"""What may be loaded where. import-linter holds the directions (`make check`); here is what no contract can say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.sources import ROOT, Source, program

HEAVY = ("dp_accounting", "numpy", "opacus", "pyarrow", "scipy", "sklearn", "tenseal", "torch")
SERVER = ("alembic", "fastapi", "pydantic_settings", "sqlalchemy", "starlette", "uvicorn")
LIGHT: dict[str, tuple[str, ...]] = {
    "gateway.app": HEAVY,
    "gateway.api.jobs": HEAVY,
    "policies.enforcer": (*HEAVY, *SERVER),
    "policies.replay": (*HEAVY, *SERVER),
    "privacy.replay": (*HEAVY, *SERVER, "casbin"),
    "audit.verify": (*HEAVY, *SERVER, "casbin", "httpx2", "typer", "rich", "yaml", "privacy", "policies"),
    "privgate.cli.app": (*HEAVY, *SERVER, "casbin", "httpx2", "compliance", "privacy", "policies"),
    "privgate.client.http": (*HEAVY, *SERVER, "casbin", "compliance", "privacy", "policies"),
    "privgate.sdk": (*HEAVY, *SERVER),
    "privgate.verify": (*HEAVY, *SERVER),
    "privgate": (*HEAVY, *SERVER, "casbin", "gateway", "compliance", "privacy", "policies", "audit"),
}
"""After importing the first, none of the others is loaded."""

ALLOWED = {"kernel": ("kernel", "cryptography"), "audit": ("audit", "kernel", "cryptography")}


@pytest.mark.parametrize("name", LIGHT)
def test_importing_it_does_not_load(name: str) -> None:
    """Asked of a fresh interpreter, because what other tests have loaded says nothing."""
    code = f"import json, sys, {name}; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & set(LIGHT[name]) == set()


@pytest.mark.parametrize("package", ALLOWED)
def test_what_a_verifier_rests_on_imports_nothing_else(package: str) -> None:
    """An allow-list, where a contract could only forbid what somebody thought of."""
    allowed = {*ALLOWED[package], *sys.stdlib_module_names}
    found = {
        f"{source.path}: {name}"
        for source in program()
        if source.module.partition(".")[0] == package
        for name in source.imported
        if name.partition(".")[0] not in allowed
    }
    assert found == set()


def test_nothing_is_unpickled_or_evaluated_from_a_file() -> None:
    """`eval` stands once, behind `policies.matcher`'s list of syntax nodes (ADR 4)."""
    banned = {"eval", "exec", "compile", "__import__"}
    found = {
        place.rpartition(".")[0] if called == "compile" else source.module
        for source in program()
        for called, place in ((c.rpartition(".")[2], p) for c, p in source.calls() if is_builtin(c, source))
        if called in banned
    }
    assert found <= {"policies.matcher"}
    loaders = ("pickle", "marshal", "shelve", "joblib", "cloudpickle", "dill")
    assert {s.path for s in program() for name in s.imported if name.partition(".")[0] in loaders} == set()


def is_builtin(called: str, source: Source) -> bool:
    """Whether a call is of a bare name that the file neither imports nor defines."""
    return called.startswith(f"{source.module}.") and called.count(".") == source.module.count(".") + 1


def test_casbin_has_one_door() -> None:
    """ADR 4: nothing but the matcher knows Casbin."""
    users = {s.module for s in program() for name in s.imported if name.partition(".")[0] == "casbin"}
    assert users <= {"policies.matcher", "policies.ruleset"}


def test_randomness_of_the_noise_cannot_be_seeded() -> None:
    """RULES 11 and invariant 6: no module of the program imports a seedable generator."""
    seeded = ("random", "numpy.random")
    assert {s.path for s in program() for name in s.imported if name in seeded or name.startswith(seeded[1])} == set()


def test_without_its_extra_the_operators_command_says_what_to_install() -> None:
    """The base install has `privgate-gateway` and no server; that is a sentence and exit code 2, not a traceback."""
    hidden = "import sys; sys.modules['pydantic_settings'] = None; from gateway.command import main; main()"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == (
        "privgate-gateway: `pydantic_settings` is not installed here: install privgate with its extra `server`\n"
    )
