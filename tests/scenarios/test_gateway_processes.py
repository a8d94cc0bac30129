"""The gateway as an operator meets it: real processes, real TLS, from an empty directory to a clean end."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.storage.engine import build_engine
from tests.support.processes import Home, stop

HEAVY = ("torch", "opacus", "numpy", "scipy", "arrow", "dp_accounting", "safetensors", "tenseal")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One initialised home, to be copied: nothing ever ran in it."""
    made = Home(tmp_path_factory.mktemp("gateway"))
    made.init()
    return made


@pytest.fixture(scope="module")
def home(fresh: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The home that the processes of this module run in."""
    return fresh.copy(tmp_path_factory.mktemp("running"))


@pytest.fixture
def own(fresh: Home, tmp_path: Path) -> Home:
    """An initialised home of the test's own."""
    return fresh.copy(tmp_path)


@pytest.fixture(scope="module")
def running(home: Home) -> Iterator[tuple[int, int]]:
    """The process ids of an API and a worker."""
    with home.api() as api, home.worker() as worker:
        yield api.pid, worker.pid


def test_an_administrator_signs_in_over_tls_with_the_token_of_init(home: Home, running: tuple[int, int]) -> None:
    """The token that `init` wrote opens `/v1/self` as an administrator, by name and by address."""
    for host in ("localhost", "127.0.0.1"):
        with home.client(token=home.token, host=host) as client:
            assert client.get("/v1/self").json()["roles"] == ["admin"]


def test_readiness_names_every_part(home: Home, running: tuple[int, int]) -> None:
    """Probes need no token; a ready gateway says so part by part."""
    with home.client() as client:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["parts"] == {"database": True, "journal": True, "keyring": True, "sequencer": True}
        assert client.get("/v1/self").status_code == 401


def test_nothing_older_than_tls_1_3_is_spoken(home: Home, running: tuple[int, int]) -> None:
    """A client that offers TLS 1.2 at most is turned away in the handshake, and so is one that trusts others."""
    port = int(home.port_file.read_text())
    old = ssl.create_default_context(cafile=str(home.path / "tls" / "ca.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    stranger = ssl.create_default_context()
    for context in (old, stranger):
        with socket.create_connection(("127.0.0.1", port)) as raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="localhost")


def test_the_api_process_maps_no_numerics_library(home: Home, running: tuple[int, int]) -> None:
    """After its first requests the API has none of the libraries that touch rows; the worker has some, as it must."""
    with home.client(token=home.token) as client:
        client.get("/v1/datasets")
    api, worker = (Path(f"/proc/{pid}/maps").read_text() for pid in running)
    libraries = {line.rpartition("/")[2] for line in api.splitlines() if ".so" in line}
    paths = [line for line in api.splitlines() if any(f"/{name}" in line for name in HEAVY)]
    assert paths == []
    assert libraries
    assert "/numpy" in worker


def checkpoint_of(home: Home) -> str:
    """The first checkpoint that is served."""
    with home.client(token=home.token) as client:
        for _ in range(100):
            note = client.get("/v1/log/checkpoint")
            if note.status_code == 200:
                break
            time.sleep(0.1)
        assert note.status_code == 200, note.text
        return note.text


def test_the_log_grows_by_what_was_asked(home: Home, running: tuple[int, int]) -> None:
    """The sequencer of the process integrates: a checkpoint of at least the entries of `init` is served."""
    assert "privgate.local/log" in checkpoint_of(home)


def test_both_processes_stop_cleanly_on_sigterm(own: Home) -> None:
    """SIGTERM ends each with 0, takes the port file away, and leaves a home that starts again."""
    for _ in range(2):
        with own.api() as api, own.worker() as worker:
            with own.client(token=own.token) as client:
                assert client.get("/v1/self").status_code == 200
                assert (stop(api), own.port_file.exists()) == (0, False)
            assert stop(worker) == 0
    lines = [json.loads(line) for name in ("serve", "worker") for line in own.log(name).splitlines()]
    assert [line["event"] for line in lines].count("stopped") == 4
    assert own.token not in own.log("serve")


def test_init_writes_secrets_for_its_own_user_alone_and_prints_none(tmp_path: Path) -> None:
    """Home 0700, files 0600, and the token in its file only, unless it is asked for."""
    home = Home(tmp_path)
    said = home.run("init", "--organisation", "Test hospital", "--admin", "Ada Admin")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.path.rglob("*") if path.is_file()}
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert home.token.startswith("pgw_")
    assert home.token not in said.stdout + said.stderr
    shown = Home(tmp_path / "asked")
    shown.folder.mkdir()
    said = shown.run("init", "--organisation", "Test hospital", "--admin", "Ada Admin", "--show-token")
    assert shown.token in said.stdout


def test_a_second_init_refuses_and_changes_nothing(own: Home) -> None:
    """Exit 2, one sentence, every file byte for byte what it was."""
    kept = ("keyring/keyring.json", "keyring.key", "admin.token", "tls/ca.pem")
    before = {name: (own.path / name).read_bytes() for name in kept}
    again = own.forked("init", "--organisation", "Other", "--admin", "Other")
    assert again.returncode == 2
    assert again.stderr == "privgate-gateway: this gateway was initialised before; nothing was changed\n"
    assert {name: (own.path / name).read_bytes() for name in kept} == before


def test_an_init_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    """With keys and certificate there and no organisation yet, `init` goes on with the same keys."""
    home = Home(tmp_path)
    home.path.mkdir(mode=0o700)
    (home.path / "admin.token").mkdir()
    cut = home.forked("init", "--organisation", "Test hospital", "--admin", "Ada Admin")
    assert (cut.returncode, "admin.token` exists already" in cut.stderr) == (2, True)
    key = (home.path / "keyring.key").read_bytes()
    (home.path / "admin.token").rmdir()
    home.init()
    assert (home.path / "keyring.key").read_bytes() == key


def test_a_lost_token_is_replaced_at_the_machine(home: Home, running: tuple[int, int], tmp_path: Path) -> None:
    """`token` writes a working token for a known principal; a stranger's id is refused."""
    with home.client(token=home.token) as client:
        principal = client.get("/v1/self").json()["principal"]
    fresh = tmp_path / "fresh.token"
    assert home.run("token", principal, "--out", str(fresh)).returncode == 0
    with home.client(token=fresh.read_text().strip()) as client:
        assert client.get("/v1/self").json()["principal"] == principal
    refused = home.run("token", "prn_" + "a" * 26, "--out", str(tmp_path / "none"))
    assert (refused.returncode, (tmp_path / "none").exists()) == (2, False)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_nothing_starts_on_a_structure_that_is_not_current(own: Home, command: str) -> None:
    """A database of another version is refused with the command that mends it."""
    engine = build_engine(f"sqlite:///{own.path / 'privgate.sqlite'}")
    with engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()
    refused = own.forked(command)
    assert refused.returncode == 2
    assert "privgate-gateway migrate" in refused.stderr
    assert refused.stderr.count("\n") == 1


REFUSALS = {
    "no home": ({}, "run `privgate-gateway init`"),
    "reachable without a certificate": ({"PRIVGATE_LISTEN_HOST": "0.0.0.0"}, "PRIVGATE_TLS_CERTIFICATE"),
    "no such port": ({"PRIVGATE_LISTEN_PORT": "70000"}, "PRIVGATE_LISTEN_PORT"),
    "no such level": ({"PRIVGATE_SANDBOX_LEVEL": "none"}, "PRIVGATE_SANDBOX_LEVEL"),
    "half a certificate": ({"PRIVGATE_TLS_KEY": "/nowhere"}, "together"),
    "no such database": ({"PRIVGATE_DATABASE_URL": "mysql://x"}, "PRIVGATE_DATABASE_URL"),
}


@pytest.mark.parametrize(("command", "case"), [*(("serve", case) for case in sorted(REFUSALS)), ("worker", "no home")])
def test_what_is_missing_or_dangerous_is_one_sentence(tmp_path: Path, command: str, case: str) -> None:
    """Exit code 2, one line that names what to set, no traceback."""
    settings, named = REFUSALS[case]
    refused = Home(tmp_path, settings).run(command) if case == "no home" else Home(tmp_path, settings).forked(command)
    assert refused.returncode == 2
    assert named in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("privgate-gateway: ")


def test_a_log_keeps_its_name(tmp_path: Path) -> None:
    """Readers pinned it: with another origin, or with the default because it was forgotten, nothing starts."""
    home = Home(tmp_path, {"PRIVGATE_ORIGIN": "gateway.example.org/log"})
    home.init()
    with home.api():
        checkpoint_of(home)
    other = {"PRIVGATE_ORIGIN": "other.example.org/log"}
    for settings, command in ((other, "check"), (other, "serve"), ({}, "worker")):
        refused = Home(tmp_path, settings).forked(command)
        assert (refused.returncode, "gateway.example.org/log" in refused.stderr) == (2, True), command
    assert home.run("check").returncode == 0


def test_a_misspelt_setting_is_told_by_check(own: Home) -> None:
    """Its name, not its value; what the client reads is no mistake."""
    said = replace(own, settings={"PRIVGATE_TOKEN_DAY": "value-8461", "PRIVGATE_CONFIG": "x"}).forked("check").stdout
    assert "PRIVGATE_TOKEN_DAY: there is no such setting" in said
    assert "value-8461" not in said
    assert "PRIVGATE_CONFIG" not in said


def test_loose_permissions_are_refused_with_the_command_that_mends_them(own: Home) -> None:
    """A home that others may enter starts nothing."""
    own.path.chmod(0o755)
    refused = own.forked("serve")
    assert (refused.returncode, "chmod 700" in refused.stderr) == (2, True)
    own.path.chmod(0o700)
    (own.path / "keyring.key").chmod(0o644)
    refused = own.forked("worker")
    assert (refused.returncode, "chmod 600" in refused.stderr) == (2, True)


def test_a_passphrase_opens_the_keyring_instead_of_a_key_file(tmp_path: Path) -> None:
    """`init` with a passphrase file makes no key file, and another passphrase opens nothing."""
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    home = Home(tmp_path, {"PRIVGATE_KEYRING_PASSPHRASE_FILE": str(secret)})
    home.init()
    assert not (home.path / "keyring.key").exists()
    assert home.run("check").returncode == 0
    secret.write_text("incorrect horse battery\n")
    refused = home.forked("check")
    assert (refused.returncode, "does not open this keyring" in refused.stderr) == (2, True)
