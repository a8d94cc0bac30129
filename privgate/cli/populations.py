"""`populations`: who is protected, and what one of them may lose in total."""

from __future__ import annotations

from typing import Annotated

import typer

from privgate.cli.choosing import Chosen, ask, default_delta
from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.screen import note, show, show_all, table

app = commands("Who is protected, and what one of them may lose in total.")
Population = Annotated[str, typer.Argument(help="pop_...", metavar="POPULATION")]


@app.command()
def create(
    noun: Annotated[str, typer.Option(help="What to call one of them: patient.")],
    domain: Annotated[str, typer.Option(help="Which of them: patients-by-mrn. The same people are one population.")],
    public_size: Annotated[int, typer.Option(help="A coarse public number; it need not be true.")],
    epsilon: Annotated[
        str | None, typer.Option(help="What one of them may lose in total. Without it, on a terminal, you are asked.")
    ] = None,
    delta: Annotated[
        str | None,
        typer.Option(help="At most 1/(100 x public size), and 0.000001; by default that.", show_default=False),
    ] = None,
    unit: Annotated[str, typer.Option(help="record, or column where a column names the person.")] = "record",
    holdout: Annotated[str, typer.Option(help="The part set apart for evaluations.")] = "0.2",
    larger_delta_reason: Annotated[str | None, typer.Option(help="Why a larger delta; it is logged.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why this epsilon; a commitment to it is logged.")] = None,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:  # fmt: skip
    """Declare a population and its budget. Order, delta and unit are fixed for good."""
    delta = delta or default_delta(public_size)
    chosen = Chosen(epsilon, reason) if epsilon is not None else ask(noun, delta, reason)
    with gateway(profile) as connected:
        made = connected.create_population(
            unit_noun=noun,
            unit_domain=domain,
            public_size=public_size,
            epsilon=chosen.epsilon,
            delta=delta,
            unit_kind=unit,
            holdout_share=holdout,
            larger_delta_reason=larger_delta_reason,
            shown=chosen.shown,
            reason=chosen.reason,
            key=key,
        )
        note(f"Once all of it is spent: {made.in_odds}")
        show(made, machine=machine)


@app.command("list")
def list_populations(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """The populations that you own."""
    from privgate.sdk.views import Population as View

    with gateway(profile) as connected:
        show_all(connected.populations, View, machine=machine)


@app.command("show")
def show_one(population: Population, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """A population and its budget."""
    with gateway(profile) as connected:
        show(connected.populations[population], machine=machine)


@app.command()
def budget(
    population: Population,
    epsilon: Annotated[str | None, typer.Option(help="Raise or lower the budget to this; without it, show it.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why this epsilon; a commitment to it is logged.")] = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """What was allotted, what is held, what is spent."""
    with gateway(profile) as connected:
        found = connected.populations[population]
        if epsilon is not None:
            found = connected.change_budget(found, epsilon, reason=reason)
    if machine:
        show(found, machine=True)
        return
    note(f"One {found.unit_noun} may lose epsilon {found.epsilon} at delta {found.delta} in total. {found.in_odds}")
    note(f"Charged or held: {found.spent_and_held} of {found.capacity} (Rényi divergence at order {found.order}).")
    table(["block", "charged", "held"], [block.cells() for block in found.blocks])


@app.command("open-block")
def open_block(
    population: Population,
    public_size: Annotated[int, typer.Option(help="About how many will be at home in it; coarse, need not be true.")],
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Open a home block: people who first appear from here on are charged apart from those before."""
    with gateway(profile) as connected:
        show(connected.open_block(population, public_size), machine=machine)


@app.command()
def cap(
    population: Population,
    principal: Annotated[str, typer.Argument(help="prn_... of a trainer.", metavar="PRINCIPAL")],
    share: Annotated[str, typer.Argument(help="From 0 to 1.", metavar="SHARE")],
    profile: Profile = DEFAULT,
) -> None:
    """Cap what one trainer may hold and spend: access policy, not privacy."""
    with gateway(profile) as connected:
        connected.cap_trainer(population, principal, share)
    note(f"{principal} may hold and spend {share} of the budget at most.")
