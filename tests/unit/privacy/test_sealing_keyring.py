"""The keyring directory: who may open it, two processes on it, crashes, and what it refuses to believe."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kernel import canonical
from kernel.clock import ManualClock
from kernel.errors import ConflictError, CorruptError, InvalidError, NotFoundError, PrivgateError
from kernel.ids import Slug, TenantId
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile, Passphrase, PassphraseCost, Unlock
from privacy.sealing.private_files import check_passphrase, make_key_file, read_key_file, read_passphrase_file
from privacy.sealing.secret import SecretBytes

CLOCK = ManualClock(datetime(2026, 11, 23, 9, 30, tzinfo=UTC))
KEY = KeyFile(SecretBytes(bytes(range(32))))
CHEAP = PassphraseCost(memory_kib=19 * 1024, iterations=2, lanes=1)
TENANT = TenantId.new(os.urandom)
SIGNING = Slug("log-signing")
POINTS = [
    "keyring:before-fsync", "keyring:after-fsync", "keyring:before-rename", "keyring:after-rename",
    "keyring:before-directory-fsync", "keyring:after-directory-fsync",
]  # fmt: skip


def _create(folder: Path, unlock: Unlock = KEY) -> Keyring:
    return Keyring.create(folder / "keyring", unlock, clock=CLOCK, entropy=os.urandom)


def _open(folder: Path, unlock: Unlock = KEY, at_least: int = 0) -> Keyring:
    return Keyring.open(folder / "keyring", unlock, clock=CLOCK, entropy=os.urandom, at_least=at_least)


def test_a_passphrase_opens_its_keyring_and_another_does_not(tmp_path: Path) -> None:
    """The right passphrase finds the same secrets; a wrong one, or a key file, is refused in words."""
    right = Passphrase(check_passphrase(b"correct horse battery"), CHEAP)
    made = _create(tmp_path, right).secret(SIGNING)
    assert _open(tmp_path, right).secret(SIGNING) == made
    with pytest.raises(InvalidError, match="does not open"):
        _open(tmp_path, Passphrase(check_passphrase(b"correct horse batteri"), CHEAP))
    with pytest.raises(InvalidError, match="opened with a passphrase"):
        _open(tmp_path)


def test_the_default_cost_is_argon2id_with_64_mib(tmp_path: Path) -> None:
    """A new keyring stores 64 MiB, 3 passes, 4 lanes, and opens with what is stored."""
    phrase = check_passphrase(b"correct horse battery")
    _create(tmp_path, Passphrase(phrase))
    lock = json.loads((tmp_path / "keyring/keyring.json").read_bytes())["lock"]
    assert lock["argon2id"] == {"iterations": 3, "lanes": 4, "memory_kib": 65536}
    _open(tmp_path, Passphrase(phrase, CHEAP))


@pytest.mark.parametrize(
    "cost", [{"memory_kib": 8}, {"memory_kib": 2**30}, {"iterations": 1}, {"iterations": 10**6}, {"lanes": 0}]
)
def test_neither_a_weak_nor_an_exhausting_cost_is_taken_from_a_file(tmp_path: Path, cost: dict[str, int]) -> None:
    """The stored cost is bounded before it is used."""
    phrase = Passphrase(check_passphrase(b"correct horse battery"), CHEAP)
    _create(tmp_path, phrase)
    path = tmp_path / "keyring/keyring.json"
    document = json.loads(path.read_bytes())
    document["lock"]["argon2id"] |= cost
    path.write_bytes(canonical.encode(document))
    with pytest.raises(CorruptError):
        _open(tmp_path, phrase)
    with pytest.raises(InvalidError):
        PassphraseCost(**cost)


@pytest.mark.parametrize(("name", "mode"), [("", 0o750), ("", 0o701), ("keyring.json", 0o640), ("keyring.json", 0o604)])
def test_loose_permissions_are_refused_with_the_command(tmp_path: Path, name: str, mode: int) -> None:
    """A directory or file that others may enter or read is not used."""
    _create(tmp_path)
    (tmp_path / "keyring" / name).chmod(mode)
    with pytest.raises(InvalidError, match="run `chmod"):
        _open(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["", "keyring.json"])
def test_another_owner_is_refused(tmp_path: Path, name: str) -> None:
    """What belongs to somebody else is not ours to trust."""
    _create(tmp_path)
    os.chown(tmp_path / "keyring" / name, 12345, -1)
    with pytest.raises(InvalidError, match="chown"):
        _open(tmp_path)


@pytest.mark.parametrize("name", ["keyring", "keyring/keyring.json"])
def test_a_link_is_refused(tmp_path: Path, name: str) -> None:
    """Neither the directory nor the file may be a link, not even to itself."""
    _create(tmp_path)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidError, match="link"):
        _open(tmp_path)


def test_key_files_are_ours_alone_and_never_replaced(tmp_path: Path) -> None:
    """A key file round-trips; loose, linked, special, malformed and existing ones are refused."""
    path = tmp_path / "key"
    make_key_file(path, lambda n: bytes(range(n)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == SecretBytes(bytes(range(32)))
    with pytest.raises(InvalidError, match="exists"):
        make_key_file(path, os.urandom)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "loose").write_bytes(path.read_bytes())
    (tmp_path / "loose").chmod(0o644)
    for name in ("link", "fifo", "loose", ""):
        with pytest.raises(InvalidError):
            read_key_file(tmp_path / name)
    with pytest.raises(NotFoundError):
        read_key_file(tmp_path / "nothing")
    for content in (b"", b"privgate-key-v1:", b"privgate-key-v1:AAAA\n", b"x" * 5000, path.read_bytes() + b"x"):
        (tmp_path / "bad").unlink(missing_ok=True)
        (tmp_path / "bad").touch(mode=0o600)
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(InvalidError):
            read_key_file(tmp_path / "bad")


def test_a_passphrase_file_loses_one_line_feed_and_no_more(tmp_path: Path) -> None:
    """The editor's line feed does not belong to the passphrase; short ones are refused."""
    path = tmp_path / "phrase"
    path.touch(mode=0o600)
    path.write_bytes(b"twelve chars \n\n")
    assert read_passphrase_file(path) == SecretBytes(b"twelve chars \n")
    for content in (b"too short\n", b"\xff" * 20):
        path.write_bytes(content)
        with pytest.raises(InvalidError, match="passphrase"):
            read_passphrase_file(path)


def test_a_keyring_is_made_once(tmp_path: Path) -> None:
    """Making it again is refused and changes nothing."""
    made = _create(tmp_path).secret(SIGNING)
    with pytest.raises(ConflictError):
        _create(tmp_path)
    assert _open(tmp_path).secret(SIGNING) == made
    with pytest.raises(NotFoundError):
        Keyring.open(tmp_path / "no", KEY, clock=CLOCK, entropy=os.urandom)


def test_a_secret_is_made_once_by_name(tmp_path: Path) -> None:
    """The same name gives the same bytes, another name others, another length a refusal; forgotten is gone."""
    ring = _create(tmp_path)
    first = ring.secret(SIGNING)
    assert ring.secret(SIGNING) == first
    assert ring.secret(Slug("token-pepper")) != first
    assert len(ring.secret(Slug("long"), 64)) == 64
    with pytest.raises(ConflictError):
        ring.secret(SIGNING, 64)
    with pytest.raises(InvalidError):
        ring.secret("../x")  # type: ignore[arg-type]
    ring.forget(SIGNING)
    ring.forget(SIGNING)
    assert ring.secret(SIGNING) != first


def test_ensuring_a_tenant_makes_one_key(tmp_path: Path) -> None:
    """Asking again makes no second version; rotating an unknown tenant is refused."""
    ring = _create(tmp_path)
    assert [ring.ensure_tenant(TENANT), ring.ensure_tenant(TENANT)] == [1, 1]
    generation = ring.generation
    ring.ensure_tenant(TENANT)
    assert ring.generation == generation
    with pytest.raises(NotFoundError):
        ring.rotate(TenantId.new(os.urandom))


def test_two_openings_see_each_others_changes(tmp_path: Path) -> None:
    """What one process writes the other reads at its next use, without opening anew."""
    one, two = _create(tmp_path), _open(tmp_path)
    made = one.secret(SIGNING)
    assert two.secret(SIGNING) == made
    assert two.ensure_tenant(TENANT) == one.ensure_tenant(TENANT) == 1
    for _ in range(20):
        one.rotate(TENANT)
        two.rotate(TENANT)
    assert one.describe(TENANT) == two.describe(TENANT)
    assert one.describe(TENANT).current == 41


ROTATE = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from kernel.clock import SystemClock
from kernel.ids import Slug, TenantId
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
def point(name):
    if name == sys.argv[3]:
        os.kill(os.getpid(), 9)
ring = Keyring.open(
    Path(sys.argv[1]), KeyFile(SecretBytes(bytes(range(32)))), clock=SystemClock(), entropy=os.urandom, point=point
)
for _ in range(int(sys.argv[2])):
    ring.rotate(TenantId(sys.argv[4]))
print(ring.secret(Slug("shared")).reveal().hex())
"""


def _rotate_elsewhere(folder: Path, times: int, point: str = "none") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ROTATE, str(folder / "keyring"), str(times), point, TENANT]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd())


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Three processes rotate 20 times each and agree on one shared secret."""
    ring = _create(tmp_path)
    ring.ensure_tenant(TENANT)
    running = [_rotate_elsewhere(tmp_path, 20) for _ in range(3)]
    printed = {process.communicate()[0].strip() for process in running}
    assert printed == {ring.secret(Slug("shared")).reveal().hex()}
    assert ring.describe(TENANT).current == 61


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_leaves_the_old_or_the_new_keyring(tmp_path: Path, point: str) -> None:
    """After SIGKILL in the middle of a write the keyring opens, old or new, and writes again."""
    _create(tmp_path).ensure_tenant(TENANT)
    process = _rotate_elsewhere(tmp_path, 1, point)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    ring = _open(tmp_path)
    version = ring.describe(TENANT).current
    assert version == (2 if point in POINTS[3:] else 1)
    assert ring.rotate(TENANT) == version + 1
    assert sorted(p.name for p in (tmp_path / "keyring").iterdir()) == ["keyring.json", "keyring.lock"]


def test_an_older_keyring_is_refused_while_open_and_when_remembered(tmp_path: Path) -> None:
    """Putting back yesterday's file undoes no destruction: an open process and `at_least` both notice."""
    ring = _create(tmp_path)
    ring.ensure_tenant(TENANT)
    path = tmp_path / "keyring/keyring.json"
    shutil.copy2(path, tmp_path / "yesterday")
    ring.rotate(TENANT)
    ring.destroy(TENANT, 1)
    remembered = ring.generation
    shutil.copy2(tmp_path / "yesterday", path)
    for _ in range(2):
        with pytest.raises(CorruptError, match="older"):
            ring.describe(TENANT)
    with pytest.raises(CorruptError, match="older"):
        _open(tmp_path, at_least=remembered)


def test_another_keyring_put_in_place_is_refused(tmp_path: Path) -> None:
    """An attacker's own keyring, however new, is not under our root."""
    ring = _create(tmp_path)
    (tmp_path / "other").mkdir()
    other = _create(tmp_path / "other", KeyFile(SecretBytes(b"k" * 32)))
    for _ in range(5):
        other.ensure_tenant(TenantId.new(os.urandom))
    shutil.copy2(tmp_path / "other/keyring/keyring.json", tmp_path / "keyring/keyring.json")
    with pytest.raises(CorruptError):
        ring.ensure_tenant(TENANT)
    with pytest.raises(InvalidError):
        _open(tmp_path)


def test_edits_that_keep_the_form_are_noticed(tmp_path: Path) -> None:
    """Lowering a floor, renaming a secret, moving a key between tenants, raising the generation: all under the MAC."""
    ring = _create(tmp_path)
    ring.ensure_tenant(TENANT)
    ring.rotate(TENANT)
    ring.raise_floor(TENANT, 2)
    ring.secret(SIGNING)
    path = tmp_path / "keyring/keyring.json"
    original = json.loads(path.read_bytes())

    def edited(*steps: str, value: object) -> bytes:
        document = json.loads(json.dumps(original))
        place = document
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value
        return canonical.encode(document)

    keks = original["body"]["tenants"][TENANT]["keks"]
    for data in (
        edited("body", "tenants", TENANT, "floor", value=1),
        edited("body", "tenants", TENANT, "keks", value={"1": keks["2"], "2": keks["1"]}),
        edited("body", "secrets", value={}),
        edited("body", "secrets", "token-pepper", value=original["body"]["secrets"][SIGNING]),
        edited("body", "generation", value=99),
        edited("lock", "salt", value="A" * 22 + "=="),
        edited("mac", value="0" * 64),
    ):
        path.write_bytes(data)
        with pytest.raises(PrivgateError):
            ring.secret(SIGNING)
        with pytest.raises(PrivgateError):
            _open(tmp_path)
    path.write_bytes(canonical.encode(original))
    ring.secret(SIGNING)


def test_a_closed_keyring_answers_nothing(tmp_path: Path) -> None:
    """After closing, the root is forgotten."""
    ring = _create(tmp_path)
    ring.close()
    ring.close()
    with pytest.raises(ConflictError):
        ring.secret(SIGNING)


def test_no_key_stands_in_the_directory_in_the_clear(tmp_path: Path) -> None:
    """Neither raw nor hexadecimal nor base64 form of any secret is found in the files."""
    import base64

    ring = _create(tmp_path)
    made = ring.secret(SIGNING).reveal()
    stored = b"".join(p.read_bytes() for p in (tmp_path / "keyring").iterdir())
    for form in (made, made.hex().encode(), base64.b64encode(made)[:40]):
        assert form not in stored
