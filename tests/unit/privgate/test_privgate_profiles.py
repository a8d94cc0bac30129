"""Sign-ins on disk: readable by their owner alone, and never printed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from audit.note import NoteKey
from audit.trust import TrustFile
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import TenantId
from kernel.signing import Ed25519Signer
from privgate.client import profiles
from privgate.client.profiles import Profile

KEPT = Profile(url="https://gateway.example", token="pgw_secret", authority="-----BEGIN CERTIFICATE-----")
ORIGIN = "gw.example/log"


def trust_file() -> TrustFile:
    """Trust file."""
    key = NoteKey(ORIGIN, Ed25519Signer(bytes(32)).public_key)
    return TrustFile(origin=ORIGIN, tenant=TenantId("ten_" + "a" * 26), log_keys=(key,))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration directory of its own."""
    monkeypatch.setenv("PRIVGATE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_what_is_saved_is_loaded(config: Path) -> None:
    """What is saved is loaded."""
    profiles.save("trainer", KEPT)
    profiles.save_trust("trainer", trust_file())
    assert (profiles.load("trainer"), profiles.load_trust("trainer")) == (KEPT, trust_file())


def test_files_are_readable_by_their_owner_alone_whatever_the_umask(config: Path) -> None:
    """Files are readable by their owner alone whatever the umask."""
    before = os.umask(0)
    try:
        paths = [profiles.save("trainer", KEPT), profiles.save_trust("trainer", trust_file())]
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in [config, *paths]] == [0o700, 0o600, 0o600]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_profile_that_others_can_read_is_refused_with_the_command_that_mends_it(mode: int) -> None:
    """A profile that others can read is refused with the command that mends it."""
    path = profiles.save("trainer", KEPT)
    path.chmod(mode)
    with pytest.raises(InvalidError, match=f"chmod 600 {path}"):
        profiles.load("trainer")


def test_a_directory_that_others_can_enter_is_refused(config: Path) -> None:
    """A directory that others can enter is refused."""
    profiles.save("trainer", KEPT)
    config.chmod(0o755)
    with pytest.raises(InvalidError, match=f"chmod 700 {config}"):
        profiles.load("trainer")


def test_a_trust_file_that_others_can_change_is_no_pin() -> None:
    """A trust file that others can change is no pin."""
    path = profiles.save_trust("trainer", trust_file())
    path.chmod(0o602)
    with pytest.raises(InvalidError, match="chmod 600"):
        profiles.load_trust("trainer")


def test_saving_does_not_write_through_a_link(config: Path, tmp_path: Path) -> None:
    """Saving does not write through a link."""
    config.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (config / "trainer.json").symlink_to(victim)
    (config / "trainer.new").symlink_to(victim)
    profiles.save("trainer", KEPT)
    assert victim.read_text() == "untouched"
    assert profiles.load("trainer") == KEPT


@pytest.mark.parametrize("name", ["", "../x", "/etc/x", "a b", "A"])
def test_a_profile_has_a_plain_name(name: str) -> None:
    """A profile has a plain name."""
    with pytest.raises(InvalidError):
        profiles.save(name, KEPT)


def test_a_missing_profile_says_how_to_sign_in() -> None:
    """A missing profile says how to sign in."""
    with pytest.raises(NotFoundError, match="privgate login --profile nobody"):
        profiles.load("nobody")
    assert profiles.load_trust("nobody") is None


def test_a_damaged_profile_is_a_sentence() -> None:
    """A damaged profile is a sentence."""
    profiles.save("trainer", KEPT).write_text("{")
    with pytest.raises(InvalidError, match="damaged"):
        profiles.load("trainer")


def test_forgetting_removes_token_and_pin(config: Path) -> None:
    """Forgetting removes token and pin."""
    profiles.save("trainer", KEPT)
    profiles.save_trust("trainer", trust_file())
    profiles.forget("trainer")
    profiles.forget("trainer")
    assert list(config.iterdir()) == []


def test_the_token_is_printed_nowhere() -> None:
    """The token is printed nowhere."""
    assert "pgw_secret" not in repr(KEPT) + str(KEPT)


def test_only_https_is_an_address() -> None:
    """Only https is an address."""
    with pytest.raises(InvalidError) as caught:
        Profile(url="http://gateway.example", token="t")
    assert caught.value.field == "url"
