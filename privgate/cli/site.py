"""`site`: the agent beside a hospital's own data, which encrypts sums and sends no row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privgate.cli import agents
from privgate.cli.agents import KeyFile, PassphraseFile, Place, opened
from privgate.cli.options import commands
from privgate.cli.screen import card, note, say

if TYPE_CHECKING:
    from privgate.agents.agent import Agent
    from privgate.agents.channel import Channel
    from privgate.agents.home import Home

app = commands("Take part in jobs on encrypted sums with data that stays here.")
Dataset = Annotated[str, typer.Argument(help="dst_..., as the gateway knows it.", metavar="DATASET")]


@app.command()
def dataset(
    dataset: Dataset,
    declaration: Annotated[Path, typer.Argument(help="The declaration that was registered.", metavar="DECLARATION")],
    file: Annotated[Path, typer.Argument(help="The file with the rows; it stays there.", metavar="FILE")],
    home: Place,
    population: Annotated[str | None, typer.Option(help="pop_..., in place of the declaration's.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="csv, parquet or jsonl; by default by name.")] = None,
    delimiter: Annotated[str, typer.Option(help="What stands between the fields of a CSV file.")] = ",",
    no_header: Annotated[bool, typer.Option("--no-header", help="The columns stand in the schema's order.")] = False,
    least_persons: Annotated[int, typer.Option(help="With fewer persons this site takes no part; 5 or more.")] = 5,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Say where the rows of a dataset are. The gateway is not told."""
    from kernel.ids import DatasetId, PopulationId
    from privacy.ingest.formats import UploadFormat
    from privacy.schema import TableSchema
    from privacy.units import PrivacyUnit
    from privgate.agents.site.datasets import SiteDataset, SiteDatasets
    from privgate.cli.documents import read_document
    from privgate.sdk.owner import FORMS

    body = read_document(declaration)
    declared = SiteDataset(
        dataset=DatasetId(dataset),
        population=PopulationId(population or str(body.get("population", ""))),
        file=file.absolute(),
        format=UploadFormat.of(form or FORMS.get(file.suffix, ""), header=not no_header, delimiter=delimiter),
        schema=TableSchema.from_json(body.get("schema", {})),
        unit=PrivacyUnit.from_json(body.get("unit", {})),
        least_persons=least_persons,
    )
    with opened(home, key_file, passphrase_file) as agent:
        SiteDatasets(agent.path).declare(declared)
    note(f"`{dataset}` is {file}. Attest it once it is as it shall be: privgate site attest {dataset}")


@app.command()
def attest(dataset: Dataset, home: Place, key_file: KeyFile = None, passphrase_file: PassphraseFile = None) -> None:
    """Tell the gateway that the rows are there: a commitment under a key that stays here, signed; no row."""
    from kernel.clock import SystemClock
    from kernel.ids import DatasetId
    from privgate.agents.renewing import RenewingChannel
    from privgate.agents.site.attesting import attestation, commitment
    from privgate.agents.site.datasets import SiteDatasets

    with opened(home, key_file, passphrase_file) as agent, RenewingChannel(agent, SystemClock(), note) as channel:
        channel.look()
        known = SiteDatasets(agent.path)
        found = known.get(DatasetId(dataset))
        rows = commitment(found, agent.commitment_key)
        channel.attest(found.dataset, attestation(found, agent.enrolment.party, rows).signed(agent.signer))
        known.note_rows(found.dataset, rows)
    say(rows)


@app.command()
def model(
    job: Annotated[str, typer.Argument(help="job_... of a blind training that has ended.", metavar="JOB")],
    home: Place,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the model there, in the clear.")] = None,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show the model of a blind training, or write it out. It is exact: giving it to anybody is a disclosure."""
    import json

    from kernel.ids import JobId
    from privacy.sealing.durable import private
    from privgate.agents.site.blind import model_of

    with opened(home, key_file, passphrase_file) as agent:
        found = model_of(agent, JobId(job))
    if out is None:
        card("model", [(line["term"], line["coefficient"]) for line in json.loads(found)["table"]])
        return
    with open(out, "xb", opener=private) as file:
        file.write(found)
    note(f"Wrote {out}. It is exact: whoever has it may learn from it about the people in the rows.")


def _make(home: Home, channel: Channel, tell: Callable[[str], None]) -> Agent:
    from kernel.clock import SystemClock
    from privacy.homomorphic.documents.parties import PartyKind
    from privgate.agents.home import require_kind
    from privgate.agents.site.agent import Site
    from privgate.agents.site.datasets import SiteDatasets

    require_kind(home.who, PartyKind.SITE)
    return Site(home, channel, SystemClock(), tell, SiteDatasets(home.path))


agents.attach(app, "site", _make)
