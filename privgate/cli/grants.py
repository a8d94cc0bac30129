"""`grants`: who may use which dataset for what, until when."""

from __future__ import annotations

from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.screen import note, show, show_all

app = commands("Who may use which dataset for what, until when.")


@app.command()
def create(
    principal: Annotated[str, typer.Option(help="prn_... of the trainer.")],
    dataset: Annotated[str, typer.Option(help="dst_...")],
    purpose: Annotated[str, typer.Option(help="One of the dataset's purposes, or a part of one.")],
    until: Annotated[str, typer.Option(help="2027-06-30, or with a time 2027-06-30T12:00:00Z.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of job: training, tuning, evaluation, statistics, synthesis, glm, he.statistics, he.glm, "
            "he.aggregate, he.infer or he.blind-logistic; may be repeated. By default training and evaluation."
        ),
    ] = None,
    share: Annotated[str, typer.Option(help="The part of the budget that may be held and spent.")] = "1",
    approval: Annotated[bool, typer.Option("--approval", help="Every job waits for the owner's yes.")] = False,
    max_epsilon: Annotated[str | None, typer.Option(help="The largest epsilon of one job.")] = None,
    auto_release: Annotated[
        str | None,
        typer.Option(
            help="Releases of jobs up to this epsilon go unchecked, within the policy's ceiling; without one none does."
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Results without noise may leave, once you and another person say yes.")
    ] = False,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Grant one principal the use of one dataset for one purpose."""
    with gateway(profile) as connected:
        made = connected.grant(
            principal=principal,
            dataset=dataset,
            purpose=purpose,
            until=until,
            job_kinds=kind or ("training", "evaluation"),
            trainer_share=share,
            approval_required=approval,
            max_epsilon=max_epsilon,
            auto_release_epsilon=auto_release,
            exact_release="two-approvals" if exact else None,
            key=key,
        )
        also = connected.policy().beyond(made, connected.datasets[dataset].sensitivity)
    show(made, machine=machine)
    for line in also:
        note(line)


@app.command("list")
def list_grants(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Grants on your datasets, or your own."""
    from privgate.sdk.views import Grant

    with gateway(profile) as connected:
        show_all(connected.grants, Grant, machine=machine)


@app.command()
def revoke(grant: Annotated[str, typer.Argument(help="grt_...", metavar="GRANT")], profile: Profile = DEFAULT) -> None:
    """Take a grant back."""
    with gateway(profile) as connected:
        connected.revoke_grant(grant)
    note(f"{grant} is revoked.")
