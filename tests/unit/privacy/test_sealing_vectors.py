"""The stored formats stand still: known files open to known values, and are written again byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernel.clock import ManualClock
from kernel.ids import DekId, JobId, Slug, TenantId
from privacy.events.sealing import KeyPurpose
from privacy.sealing.deks import Label, commit, subkey
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.private_files import make_key_file, read_key_file
from privacy.sealing.secret import SecretBytes
from privacy.sealing.wrapping import KeyContext, WrappedKey

VECTORS = Path(__file__).parents[2] / "vectors" / "sealing"
CLOCK = ManualClock(datetime(2026, 11, 23, 9, 30, tzinfo=UTC))
DEK = SecretBytes(bytes(range(32)))


def counted() -> Callable[[int], bytes]:
    """A source of known bytes: SHA-256 of 0, 1, 2, ..."""
    count = iter(range(10**6))

    def draw(length: int) -> bytes:
        data = b""
        while len(data) < length:
            data += hashlib.sha256(str(next(count)).encode()).digest()
        return data[:length]

    return draw


def write(folder: Path) -> dict[str, Any]:
    """Make key file and keyring in `folder`; return what they open to."""
    entropy = counted()
    tenant = TenantId.new(entropy)
    context = KeyContext(tenant=tenant, dek=DekId.new(entropy), purpose=KeyPurpose.JOB, job=JobId.new(entropy))
    make_key_file(folder / "keyring.key", entropy)
    unlock = KeyFile(read_key_file(folder / "keyring.key"))
    ring = Keyring.create(folder / "keyring", unlock, clock=CLOCK, entropy=entropy)
    ring.ensure_tenant(tenant)
    ring.rotate(tenant)
    ring.raise_floor(tenant, 2)
    secret = ring.secret(Slug("log-signing"))
    wrapped = ring.wrap(tenant, context, DEK)
    return {
        "context": context.to_json(),
        "wrapped": wrapped.to_bytes().decode("ascii"),
        "secret": secret.reveal().hex(),
        "dek": DEK.reveal().hex(),
        "subkeys": {label.value: subkey(DEK, label).reveal().hex() for label in Label},
        "commitment": commit(DEK),
    }


def test_the_known_keyring_opens_to_the_known_values(tmp_path: Path) -> None:
    """A keyring written by an earlier program still opens: secret, wrapped key, subkeys and commitment."""
    (tmp_path / "keyring").mkdir(mode=0o700)
    for name, place in (("keyring.key", tmp_path), ("keyring.json", tmp_path / "keyring")):
        shutil.copyfile(VECTORS / name, place / name)
        (place / name).chmod(0o600)
    values = json.loads((VECTORS / "values.json").read_bytes())
    unlock = KeyFile(read_key_file(tmp_path / "keyring.key"))
    ring = Keyring.open(tmp_path / "keyring", unlock, clock=CLOCK, entropy=counted())
    context = KeyContext.from_json(values["context"])
    wrapped = WrappedKey.from_bytes(values["wrapped"].encode("ascii"))
    assert ring.secret(Slug("log-signing")).reveal().hex() == values["secret"]
    dek = ring.unwrap(context.tenant, context, wrapped)
    assert dek.reveal().hex() == values["dek"]
    assert {label.value: subkey(dek, label).reveal().hex() for label in Label} == values["subkeys"]
    assert commit(dek) == values["commitment"]


def test_the_same_bytes_are_written_again(tmp_path: Path) -> None:
    """With the same source of bytes, this program writes the same key file, keyring and values."""
    assert write(tmp_path) == json.loads((VECTORS / "values.json").read_bytes())
    assert (tmp_path / "keyring.key").read_bytes() == (VECTORS / "keyring.key").read_bytes()
    assert (tmp_path / "keyring/keyring.json").read_bytes() == (VECTORS / "keyring.json").read_bytes()


if __name__ == "__main__":
    made = Path(tempfile.mkdtemp())
    (VECTORS / "values.json").write_text(json.dumps(write(made), indent=1, sort_keys=True) + "\n")
    shutil.copyfile(made / "keyring.key", VECTORS / "keyring.key")
    shutil.copyfile(made / "keyring/keyring.json", VECTORS / "keyring.json")
