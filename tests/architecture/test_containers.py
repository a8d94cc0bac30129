"""The container files, held by reading them: no container engine is needed, and none is assumed."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import Settings
from gateway.tls import LocalAuthority
from kernel.clock import SystemClock
from privacy.sealing.private_files import read_key_file
from tests.support.sources import PACKAGES, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
OURS = ("api", "worker")


def stage(name: str) -> str:
    """The lines of one stage of the Dockerfile."""
    match = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert match, f"the Dockerfile has no stage `{name}`"
    return match[1]


def test_the_api_has_no_training_in_it() -> None:
    """What the API process must not load is not even there; `torch` and its kind belong to the extra `train`."""
    extras = {name: re.findall(r"'\.\[([a-z0-9,]+)\]'", stage(f"{name}-build")) for name in OURS}
    assert extras == {"api": ["server,postgres,s3"], "worker": ["server,postgres,s3,train"]}
    assert "COPY --from=api-build /opt/privgate" in stage("api")
    assert "torch" not in stage("api-build")


def test_every_install_keeps_to_the_lock() -> None:
    """`torch==2.13.0` comes from the constraints; an install without them would take what is newest."""
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(installs) >= 3
    assert all(line.startswith("--constraint constraints.txt ") for line in installs)


@pytest.mark.parametrize("name", OURS)
def test_an_image_runs_as_nobody_special_and_tells_its_health(name: str) -> None:
    """The user has a number, so that an orchestrator can see that it is not root."""
    assert re.search(r"^USER 10001:10001$", stage("run"), re.MULTILINE)
    assert "USER" not in stage(name)
    assert f'CMD ["python", "/opt/alive.py", "{name}"]' in stage(name)


def test_only_what_is_shipped_reaches_the_build() -> None:
    """A secret, a database or a test beside the source is never sent to the build."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert taken == {*PACKAGES, "deploy/alive.py", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"}


def test_every_service_is_confined() -> None:
    """Read-only root, no capability, no new privilege, not root."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].partition(":")[0] not in ("", "0", "root"), name


def test_nothing_listens_beyond_loopback_and_rows_reach_no_outside() -> None:
    """The API alone has a port; database and worker are on a network without a way out."""
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert ports == {"api": ["127.0.0.1:8443:8443"], "database": [], "worker": []}
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert COMPOSE["services"]["worker"]["networks"] == COMPOSE["services"]["database"]["networks"] == ["inside"]


def test_no_secret_stands_in_the_file() -> None:
    """Passwords and keys come as files; what an environment holds is shown by every tool that lists it."""
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), name
            assert "PASSWORD" not in name or name.endswith("_FILE"), name
    used = {secret for service in COMPOSE["services"].values() for secret in service["secrets"]}
    assert used == set(COMPOSE["secrets"])


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_settings_that_exist_and_that_are_not_refused(name: str) -> None:
    """A typing error in a variable's name would be ignored; the compose file's own values pass the start-up checks."""
    environment = COMPOSE["services"][name]["environment"]
    values = {key.removeprefix("PRIVGATE_").lower(): str(value) for key, value in environment.items()}
    assert set(values) <= set(Settings.model_fields)
    values["origin"] = re.sub(r"\$\{PRIVGATE_ORIGIN:-([^}]+)\}", r"\1", values["origin"])
    assert Settings(**values).database.startswith("postgresql+psycopg://")


@pytest.mark.skipif(os.geteuid() != 0, reason="the script gives files to other users, which root alone can")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_script_makes_the_secrets_that_compose_mounts(tmp_path: Path) -> None:
    """Each file exists, is closed to others where it is secret, and the key file is one that the keyring reads."""
    target = tmp_path / "secrets"
    script = ROOT / "deploy" / "secrets.sh"
    subprocess.run(["sh", str(script), str(target), "gateway.example.org"], check=True, capture_output=True)
    for secret in COMPOSE["secrets"].values():
        path = target / Path(secret["file"]).name
        assert path.is_file()
        assert path.suffix == ".pem" or path.stat().st_mode & 0o077 == 0, path.name
    key = target / "keyring.key"
    assert key.stat().st_uid == 10001
    os.chown(key, 0, 0)
    assert len(read_key_file(key)) == 32
    again = subprocess.run(["sh", str(script), str(target), "x"], check=False, capture_output=True)
    assert again.returncode == 1, "secrets are never replaced"


class _Ready(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[http.server.HTTPServer, Path]]:
    """A TLS server with a leaf of the local authority, and the leaf."""
    certificate, key = LocalAuthority(tmp_path, SystemClock()).leaf()
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Handler", (_Ready,), {}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, certificate
    server.shutdown()
    thread.join()
    server.server_close()


def alive(port: int, certificate: Path) -> int:
    """The exit status of the image's health check."""
    environment = {"PRIVGATE_LISTEN_PORT": str(port), "PRIVGATE_TLS_CERTIFICATE": str(certificate)}
    command = [sys.executable, str(ROOT / "deploy" / "alive.py"), "api"]
    return subprocess.run(command, check=False, capture_output=True, env=environment).returncode


def test_the_health_check_tells_ready_from_not_and_believes_its_own_certificate_alone(
    listener: tuple[http.server.HTTPServer, Path], tmp_path: Path
) -> None:
    """Ready is 0; not ready, or another process with another certificate on the port, is not."""
    server, certificate = listener
    port = server.server_address[1]
    assert alive(port, certificate) == 0
    server.RequestHandlerClass.status = 503
    assert alive(port, certificate) == 1
    other, _ = LocalAuthority(tmp_path / "other", SystemClock()).leaf()
    server.RequestHandlerClass.status = 200
    assert alive(port, other) != 0
