"""Whether a job can succeed, in words that help with a job of its kind."""

from __future__ import annotations

import pytest

from policies.vocabulary import JobKind
from privgate.sdk.prospects import prospect, suffering

TUNED = {"try_feasibility": "likely", "score_feasibility": "hopeless"}


@pytest.mark.parametrize("kind", [kind.value for kind in JobKind])
@pytest.mark.parametrize("word", ["doubtful", "hopeless"])
def test_only_what_has_a_model_is_told_to_shrink_it(kind: str, word: str) -> None:
    """A smaller model helps no count."""
    said = prospect(kind, word, fits=True)
    assert said.startswith(f"{word}: noise will ")
    assert "more epsilon" in said
    assert ("smaller model" in said) == (kind in ("training", "tuning"))


def test_a_tuning_names_the_part_that_fails() -> None:
    """Scores that drown are mended where scores are paid for."""
    scored = suffering("tuning", "hopeless", TUNED)
    assert "`score_epsilon`" in scored
    assert "smaller model" not in scored
    tried = suffering("tuning", "doubtful", {"try_feasibility": "doubtful", "score_feasibility": "likely"})
    assert "smaller model" in tried
    assert "score_epsilon" not in tried
    both = suffering("tuning", "hopeless", {"try_feasibility": "hopeless", "score_feasibility": "hopeless"})
    assert "smaller model" in both
    assert "score_epsilon" in both


def test_what_does_not_fit_is_not_likely() -> None:
    """A job that will be refused succeeds at nothing; its noise is told beside that."""
    assert prospect("training", "likely", fits=False).startswith("no, it does not fit")
    assert "would be likely" in prospect("training", "likely", fits=False)
    assert prospect("training", "likely", fits=True) == "likely, by declared sizes"
    assert prospect("glm", None, fits=False) == "no, it does not fit the budget"
    assert prospect("glm", None, fits=True) == "nothing is said of this kind of job"
