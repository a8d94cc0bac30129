"""Settings: safe by default, and every dangerous value is refused with a sentence that says what to set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.cli import settings_sentence
from gateway.settings import Settings

PEM, KEY = Path("/etc/x.pem"), Path("/etc/x.key")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment that the tests run in."""
    for name in [name for name in os.environ if name.startswith("PRIVGATE_")]:
        monkeypatch.delenv(name)


def test_the_defaults_are_one_machine_on_loopback() -> None:
    """Nothing set: loopback, SQLite and a folder in the home, the strongest confinement."""
    settings = Settings(home=Path("/srv/privgate"))
    assert settings.listen_host == "127.0.0.1"
    assert settings.database == "sqlite:////srv/privgate/privgate.sqlite"
    assert settings.key_file == Path("/srv/privgate/keyring.key")
    assert settings.sandbox_level == "landlock+seccomp"
    assert not settings.demo


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"listen_host": "0.0.0.0"}, "PRIVGATE_TLS_CERTIFICATE"),
    ({"listen_host": "::"}, "PRIVGATE_TLS_CERTIFICATE"),
    ({"listen_host": "gateway.example"}, "PRIVGATE_TLS_CERTIFICATE"),
    ({"tls_certificate": PEM}, "together"),
    ({"tls_key": KEY}, "together"),
    ({"listen_port": -1}, "PRIVGATE_LISTEN_PORT"),
    ({"listen_port": 65536}, "PRIVGATE_LISTEN_PORT"),
    ({"database_url": "mysql://localhost/x"}, "sqlite or postgresql"),
    ({"database_url": "postgresql://user:hush@db.example/x"}, "sslmode=verify-full"),
    ({"database_url": "postgresql://user:hush@db.example/x?sslmode=require"}, "sslmode=verify-full"),
    ({"database_url": "postgresql://user:hush@db.example/x?sslmode=verify-full&sslmode=disable"}, "verify-full"),
    ({"database_url": "postgresql://u:hush@/x?host=db.example"}, "sslmode=verify-full"),
    ({"database_url": "postgresql://u:hush@localhost/x?host=db.example:5432"}, "sslmode=verify-full"),
    ({"database_url": "postgresql://u:hush@localhost/x?hostaddr=192.0.2.1"}, "sslmode=verify-full"),
    ({"database_url": "postgresql://u:hush@/x?service=far"}, "service"),
    ({"keyring_key_file": KEY, "keyring_passphrase_file": KEY}, "not both"),
    ({"demo": True}, "PRIVGATE_DEMO"),
    ({"origin": "demo.privgate.local/x"}, "PRIVGATE_DEMO"),
    ({"origin": "Not An Origin"}, "PRIVGATE_ORIGIN"),
    ({"sandbox_level": "none"}, "PRIVGATE_SANDBOX_LEVEL"),
    ({"blob_url": "https://bucket.example"}, "s3://bucket"),
    ({"blob_url": "s3://key:hush@bucket/x"}, "s3://bucket"),
    ({"blob_url": "s3://"}, "s3://bucket"),
    ({"blob_url": "s3://bucket", "s3_endpoint": "http://s3.example"}, "use https"),
    ({"blob_url": "s3://bucket", "s3_endpoint": "https://key:hush@s3.example"}, "without credentials"),
    ({"s3_endpoint": "https://s3.example"}, "PRIVGATE_BLOB_URL"),
    ({"ingest_memory_bytes": 1}, "PRIVGATE_INGEST_MEMORY_BYTES"),
    ({"tick_seconds": 0}, "PRIVGATE_TICK_SECONDS"),
    ({"token_days": 3650}, "PRIVGATE_TOKEN_DAYS"),
    ({"tick": 5}, "PRIVGATE_TICK"),
]


@pytest.mark.parametrize(("changes", "named"), REFUSED)
def test_a_dangerous_setting_is_refused_in_one_sentence(changes: dict[str, Any], named: str) -> None:
    """The sentence names what to set and never repeats a value, least of all a password."""
    with pytest.raises(ValidationError) as caught:
        Settings(**changes)
    sentence = settings_sentence(caught.value)
    assert named in sentence
    assert "hush" not in sentence
    assert "\n" not in sentence


ACCEPTED: list[dict[str, Any]] = [
    {"listen_host": "::1"},
    {"listen_host": "0.0.0.0", "tls_certificate": PEM, "tls_key": KEY},
    {"database_url": "postgresql://user@localhost/x"},
    {"database_url": "postgresql://user@/x?host=/run/postgresql"},
    {"database_url": "postgresql://user@/x?host=127.0.0.1:5433"},
    {"database_url": "postgresql://user@db.example/x?sslmode=verify-full"},
    {"demo": True, "origin": "demo.privgate.local/x"},
    {"blob_url": "s3://bucket/some/prefix"},
    {"blob_url": "s3://bucket", "s3_endpoint": "https://s3.example:9000"},
    {"blob_url": "s3://bucket", "s3_endpoint": "http://127.0.0.1:9000"},
]


@pytest.mark.parametrize("changes", ACCEPTED)
def test_what_is_safe_is_accepted(changes: dict[str, Any]) -> None:
    """The neighbours of the refused values."""
    Settings(**changes)


def test_settings_come_from_the_environment_once_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read at construction, frozen afterwards; an empty variable is no value."""
    monkeypatch.setenv("PRIVGATE_TICK_SECONDS", "7")
    monkeypatch.setenv("PRIVGATE_BLOB_URL", "")
    settings = Settings()
    monkeypatch.setenv("PRIVGATE_TICK_SECONDS", "8")
    assert settings.tick_seconds == 7
    with pytest.raises(ValidationError):
        settings.tick_seconds = 9  # type: ignore[misc]


def test_postgresql_is_spoken_through_psycopg() -> None:
    """Whatever way the address is written."""
    for written in ("postgresql://localhost/x", "postgresql+psycopg://localhost/x"):
        assert Settings(database_url=written).database == "postgresql+psycopg://localhost/x"
