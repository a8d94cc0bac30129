"""All configuration, parsed once at start-up and frozen.

Rules
-----
1. Every setting has a safe default for one machine; a dangerous value is refused here with a sentence saying what to
   set, never silently corrected and never accepted with a warning.
2. Nothing reads the environment after this.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # also keeps `user:secret@` out of the address
MIB = 2**20
GIB = 2**30


class Settings(BaseSettings):
    """What an operator may choose; each is the environment variable `PRIVGATE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="PRIVGATE_", frozen=True, extra="forbid", env_ignore_empty=True)

    home: Path = Path("/var/lib/privgate")
    """Directory of the database, blobs, keyring and certificates of a single machine; mode 0700."""
    origin: str = Field(default="privgate.local/log", pattern=r"^[a-z0-9.-]{1,64}(/[a-z0-9.-]{1,32}){1,3}$")
    """Name of this gateway's log; it stands in every checkpoint and certificate and can never change."""

    database_url: str = ""
    """SQLAlchemy address; empty means a SQLite file in `home`."""
    blob_url: str = ""
    """`s3://bucket/prefix`, or empty for a folder in `home`."""
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=8443, ge=0, le=65535)
    tls_certificate: Path | None = None
    """Certificate chain (PEM); empty means a leaf of the gateway's own local CA, for loopback only."""
    tls_key: Path | None = None

    party_host: str = "127.0.0.1"
    party_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the second listener, for the agents of sites and key holders; empty: there is none. It demands a client
    certificate of the gateway's own, and shows the same certificate as the first."""

    keyring_key_file: Path | None = None
    """Key file that opens the keyring; empty means `home/keyring.key`, made by `privgate-gateway init`."""
    keyring_passphrase_file: Path | None = None
    """File with the keyring's passphrase, instead of a key file."""

    sandbox_level: str = Field(default="landlock+seccomp", pattern=r"^(rlimits|landlock|seccomp|landlock\+seccomp)$")
    """The least confinement under which a job may run; a host that cannot give it refuses to start a worker."""
    ingest_memory_bytes: int = Field(default=480 * MIB, ge=256 * MIB)
    # The least that `privacy.jobs.plan` counts on when it admits a plan: below it the true number of rows would decide
    # whether a job ends, and an end is visible to its trainer.
    training_memory_bytes: int = Field(default=8 * GIB, ge=8 * GIB)
    child_cpu_seconds: int = Field(default=4 * 3600, ge=4 * 3600)
    child_wall_seconds: int = Field(default=8 * 3600, ge=4 * 3600)
    upload_bytes: int = Field(default=8 * GIB, ge=1 * MIB)
    """The largest accepted upload."""

    tick_seconds: int = Field(default=5, ge=1, le=3600)
    """Progress and ends of jobs become visible only at multiples of this after their request (a timing channel)."""
    faults_per_trainer: int = Field(default=5, ge=1, le=100)
    """Failed jobs of one trainer on one population after which the owner must enable it again."""
    lease_seconds: int = Field(default=30, ge=3, le=3600)
    hold_seconds: int = Field(default=7 * 24 * 3600, ge=60)
    """How long a reservation lives if its job never starts."""
    sequencer_interval_ms: int = Field(default=100, ge=10, le=10_000)
    token_days: int = Field(default=90, ge=1, le=366)
    demo: bool = False
    """Marks a throw-away gateway: its origin says so, and so does everything that it signs."""

    @model_validator(mode="after")
    def _refuse_dangerous(self) -> Self:
        self._check_listener()
        self._check_database()
        self._check_blobs()
        if self.keyring_key_file is not None and self.keyring_passphrase_file is not None:
            raise ValueError("set PRIVGATE_KEYRING_KEY_FILE or PRIVGATE_KEYRING_PASSPHRASE_FILE, not both")
        if self.demo != self.origin.startswith("demo."):
            raise ValueError("an origin that starts with `demo.` goes with PRIVGATE_DEMO=true, and only with it")
        return self

    def _check_listener(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("set PRIVGATE_TLS_CERTIFICATE and PRIVGATE_TLS_KEY together")
        outside = not _is_loopback(self.listen_host)
        if self.tls_certificate is None and self.party_port is not None and not _is_loopback(self.party_host):
            raise ValueError(
                "PRIVGATE_PARTY_HOST is reachable from outside: set PRIVGATE_TLS_CERTIFICATE and PRIVGATE_TLS_KEY"
            )
        if self.tls_certificate is None and outside:
            raise ValueError(
                "PRIVGATE_LISTEN_HOST is reachable from outside: set PRIVGATE_TLS_CERTIFICATE and PRIVGATE_TLS_KEY"
            )

    def _check_database(self) -> None:
        if not self.database_url:
            return
        address = urlsplit(self.database_url)
        if address.scheme not in ("sqlite", "postgresql", "postgresql+psycopg"):
            raise ValueError("PRIVGATE_DATABASE_URL must be a sqlite or postgresql address")
        if address.scheme == "sqlite":
            return
        options = parse_qs(address.query)
        if "service" in options:
            raise ValueError("PRIVGATE_DATABASE_URL must name its host: a service file may name any")
        # The driver takes a host from the options as well, and prefers `hostaddr` to both.
        hosts = [address.hostname or "", *options.get("host", []), *options.get("hostaddr", [])]
        if not all(_stays_here(host) for host in hosts) and options.get("sslmode") != ["verify-full"]:
            raise ValueError("PRIVGATE_DATABASE_URL crosses a network: add ?sslmode=verify-full")

    def _check_blobs(self) -> None:
        if not self.blob_url:
            if self.s3_endpoint:
                raise ValueError("PRIVGATE_S3_ENDPOINT goes with PRIVGATE_BLOB_URL=s3://bucket/prefix: set that too")
            return
        place = urlsplit(self.blob_url)
        if place.scheme != "s3" or _BUCKET.fullmatch(place.netloc) is None or place.query or place.fragment:
            raise ValueError("PRIVGATE_BLOB_URL must be s3://bucket or s3://bucket/prefix")
        if not self.s3_endpoint:
            return
        endpoint = urlsplit(self.s3_endpoint)
        if endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.username is not None:
            raise ValueError("PRIVGATE_S3_ENDPOINT must be https://host:port, without credentials")
        if endpoint.scheme == "http" and not _is_loopback(endpoint.hostname):
            raise ValueError("PRIVGATE_S3_ENDPOINT crosses a network: use https")

    @property
    def database(self) -> str:
        """The SQLAlchemy address to use."""
        if not self.database_url:
            return f"sqlite:///{self.home / 'privgate.sqlite'}"
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def key_file(self) -> Path:
        """The key file that opens the keyring, unless a passphrase does."""
        return self.keyring_key_file or self.home / "keyring.key"


def _stays_here(host: str) -> bool:
    """Whether a database's host is a Unix socket or loopback; a port may follow."""
    return host == "" or host.startswith("/") or _is_loopback(host) or _is_loopback(host.rpartition(":")[0])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
