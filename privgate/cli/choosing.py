"""Choosing epsilon: what each choice would mean, in odds; which one; and why.

Rules
-----
1. Only somebody at a terminal is asked. A script names `--epsilon`, and is told if it does not.
2. What was shown, what was chosen and why go to the gateway, which logs them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from privgate.cli.screen import note

DEFAULT_CHOICE = "3"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An epsilon, why, and what else was shown; nothing was shown to whoever named one at once."""

    epsilon: str
    reason: str | None = None
    shown: tuple[str, ...] = ()


def default_delta(public_size: int) -> str:
    """The largest delta that needs no reason."""
    from privacy.budget.choice import largest_delta

    return str(largest_delta(public_size))


def ask(noun: str, delta: str, reason: str | None = None) -> Chosen:
    """Show what choices there are and what each means, and ask for one and for the reason.

    Raises:
        InvalidError: Nobody sits at a terminal.
    """
    from kernel.amounts import Delta
    from kernel.errors import InvalidError
    from privacy.accounting.odds import sentence
    from privacy.budget.choice import alternatives

    if not sys.stdin.isatty():
        raise InvalidError("give --epsilon; on a terminal you are shown what the choices mean", field="epsilon")
    shown = alternatives(Delta.parse(delta))
    note(f"Epsilon is what one {noun} may lose in total, over everything that ever leaves, at delta {delta}.")
    note(sentence(noun, shown[0].odds).replace(f" {shown[0].odds} ", " N "))
    note("\n  epsilon    N, once all of it is spent")
    for choice in shown:
        note(f"  {choice.epsilon!s:<10} {choice.odds}")
    note(
        "\nN is a bound for all jobs together, whatever they will be. The quote of one job has odds of its own: by "
        "that job's noise alone, and smaller at the same epsilon."
    )
    note("More epsilon: more jobs, or better ones. It can be raised later, and lowered to what is spent and held.")
    epsilon = str(typer.prompt("Epsilon", default=DEFAULT_CHOICE, err=True)).strip()
    why = reason or str(typer.prompt("Why this one (kept, and logged as a commitment)", err=True)).strip()
    return Chosen(epsilon, why or None, tuple(str(choice.epsilon) for choice in shown))
