"""What a client keeps of a question: nothing of it outlives its answer, and no death over that locks him out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError, NotFoundError
from privacy.homomorphic.inferences.question import ask_of
from privacy.sealing.secret import SecretBytes
from privgate.agents.papers import Papers
from privgate.sdk.questions import InFolder, Kept
from tests.unit.privacy.test_inference_questions import JOB, spec_of

WANTED = Digest.of(b"these rows")


class Killed(BaseException):
    """The client is gone."""


def kept(folder: Path) -> InFolder:
    """A folder with a question that may have been sent."""
    made = InFolder(folder)
    made.begin(WANTED)
    made.keep(Kept(JOB, ask_of(JOB, spec_of(), b"", b"ciphertexts", os.urandom), SecretBytes(b"secret"), (0,)))
    return made


def test_a_folder_keeps_one_question_and_is_gone_with_it(tmp_path: Path) -> None:
    """The same one goes on under its key; another is refused; afterwards there is no folder."""
    made = kept(tmp_path / "kept")
    again = InFolder(tmp_path / "kept")
    assert again.begin(WANTED) == made.begin(WANTED)
    found = again.found()
    assert found is not None
    assert (found.job, found.secret.reveal(), found.places) == (JOB, b"secret", (0,))
    with pytest.raises(ConflictError):
        again.begin(Digest.of(b"other rows"))
    again.forget()
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("after", range(1, 6))
def test_a_client_that_dies_while_forgetting_can_open_the_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The secret key goes first; whatever else is left then, the folder opens, holds no question, and is emptied."""
    dropped: list[str] = []
    drop = Papers.drop

    def dying(papers: Papers, name: str) -> None:
        drop(papers, name)
        dropped.append(name)
        if len(dropped) == after:
            raise Killed

    made = kept(tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(Papers, "drop", dying)
        with pytest.raises(Killed):
            made.forget()
    again = InFolder(tmp_path / "kept")
    assert again.found() is None
    again.begin(WANTED)
    again.forget()
    assert not (tmp_path / "kept").exists()


def test_the_directory_around_the_folder_may_be_an_ordinary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try works where others may look, by a relative path, too; the folder itself is for its owner alone."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    made = kept(Path("scores.csv.question"))
    assert (tmp_path / "scores.csv.question").stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    made.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_ours_alone_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Open to others, or a link: neither key nor vault is put there."""
    opened, linked = tmp_path / "open", tmp_path / "link"
    opened.mkdir()
    opened.chmod(0o755)
    (tmp_path / "own").mkdir(mode=0o700)
    linked.symlink_to(tmp_path / "own")
    for folder in (opened, linked):
        for attempt in (lambda one: one.begin(WANTED), lambda one: one.found()):
            with pytest.raises(InvalidError):
                attempt(InFolder(folder))
        assert list(folder.iterdir()) == []


def test_nothing_is_made_before_a_question_is_begun(tmp_path: Path) -> None:
    """Looking for one leaves no folder; neither does a key file or a directory that is not there."""
    fresh = InFolder(tmp_path / "kept")
    assert (fresh.begun(), fresh.found()) == (False, None)
    for path, key in ((tmp_path / "kept", tmp_path / "none.key"), (tmp_path / "none" / "kept", None)):
        with pytest.raises(NotFoundError):
            InFolder(path, key)
    assert list(tmp_path.iterdir()) == []
    fresh.begin(WANTED)
    assert InFolder(tmp_path / "kept").begun()
