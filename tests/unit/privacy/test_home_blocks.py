"""RULES 2: a unit has one home block for good, and whoever sees its rows charges it."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kernel.amounts import Rdp, Share
from kernel.errors import ConflictError, CorruptError, InvalidError
from kernel.ids import VersionId
from privacy.accounting.price import price
from privacy.budget import ledger
from privacy.budget.fold import fold
from privacy.budget.ledger import Exhausted
from privacy.budget.reservations import MOST_HOMES, Block, BlockHold, BlockUse
from privacy.ingest.assignment import HomesFile
from privacy.jobs.evaluation_spec import complete_evaluation
from privacy.jobs.features import default_features
from privacy.jobs.glm_spec import complete_glm
from privacy.jobs.head import JobKind, sees_home_alone
from privacy.jobs.spec import complete_training, read_spec
from privacy.jobs.statistics_spec import complete_statistics
from privacy.jobs.tuning_spec import complete_tuning
from privacy.replay import Fault, replay
from privacy.sealing.manifest import Split
from privgate.sdk.requests import evaluation_request, glm_request, statistics_request, training_request
from tests.support import jobs
from tests.support.budgets import Book, counts, permit, population, posted, training
from tests.support.uploads import VERSION, Sealed, by, ingest_here, schema

DATA = Path(os.environ.get("PRIVGATE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
TABLE = DATA / "diabetes130" / "diabetic_data.csv.gz"
PARTS = 12
DATASET = "dst_" + "a" * 26
STAYS = schema({"name": "patient", "kind": "identifier"}, {"name": "days", "kind": "numeric", "low": "1", "high": "14"})


def cost(use: BlockUse, book: Book) -> Rdp:
    """The price at the population's order."""
    return price(use.mechanism, order=book.state.account.population.budget.order)


def opened(blocks: int, **changes: object) -> Book:
    """A ledger with so many home blocks."""
    book = Book(population(**changes))
    for _ in range(blocks - 1):
        book.keep(ledger.open_block(book.standing(), 50))
    return book


# --- names -----------------------------------------------------------------------------------------------------------


def test_equal_blocks_are_one_object_and_written_in_one_way() -> None:
    """`train` is the first home block's; nothing else names it."""
    assert Block("train") is Block.TRAIN is Block.TRAIN.at(1)
    assert Block("holdout/7") is Block.HOLDOUT.at(7)
    assert (Block("train/12").home, Block("train/12").value) == (12, "train/12")
    for wrong in ("train/1", "train/0", "train/01", f"train/{MOST_HOMES + 1}", "test", "train/", "train/2/3", "", None):
        with pytest.raises(InvalidError):
            Block(wrong)  # type: ignore[arg-type]


def test_earlier_blocks_are_named_in_one_way() -> None:
    """The first block has none before it, and what is not so is not written."""
    several = training().placed(3, alone=False)
    assert several.blocks == (Block.TRAIN, Block.TRAIN.at(2), Block.TRAIN.at(3))
    assert training().placed(3, alone=True).blocks == (Block.TRAIN.at(3),)
    assert training().placed(1, alone=False) == training().placed(1, alone=True) == training()
    for block, earlier in ((Block.TRAIN, True), (Block.TRAIN.at(2), False)):
        with pytest.raises(InvalidError):
            BlockUse(block=block, earlier=earlier, mechanism=training().mechanism)


# --- the ledger ------------------------------------------------------------------------------------------------------


def test_twelve_jobs_over_all_rows_charge_the_first_block_twelve_prices() -> None:
    """Each on its own month, but whoever came in the first month may be in all of them."""
    book = opened(PARTS)
    for month in range(1, PARTS + 1):
        book.spend(training().placed(month, alone=False))
    one, account = cost(training(), book), book.state.account
    charged = [account.balance(Block.TRAIN.at(month)).charged for month in range(1, PARTS + 1)]
    assert charged == [one * (PARTS + 1 - month) for month in range(1, PARTS + 1)]
    assert account.charged == one * PARTS


def test_twelve_jobs_on_home_units_alone_charge_one_price_in_each_block() -> None:
    """And the population has lost one price: the same noise for twelve models as for one."""
    book = opened(PARTS)
    for month in range(1, PARTS + 1):
        book.spend(training().placed(month, alone=True))
    one, account = cost(training(), book), book.state.account
    assert {account.balance(Block.TRAIN.at(month)).charged for month in range(1, PARTS + 1)} == {one}
    assert account.charged == one
    assert account.balance(Block.HOLDOUT.at(5)).charged == Rdp.zero()


def test_a_job_over_all_rows_needs_room_in_every_block() -> None:
    """The first block is full: nobody who may see its units gets anything, whoever sees only new ones does."""
    book = opened(3)
    full = training(noise="5", steps=400)
    while not isinstance(book.reserve([full]), Exhausted):
        pass
    answer = book.reserve([full.placed(3, alone=False)])
    assert isinstance(answer, Exhausted)
    assert {limit.block for limit in answer.shortfalls} == {Block.TRAIN}
    assert [limit.block for limit in answer.refusal.limits] == [
        block for block in (Block.TRAIN, Block.TRAIN.at(2), Block.TRAIN.at(3)) for _ in range(2)
    ]
    assert not isinstance(book.reserve([full.placed(3, alone=True)]), Exhausted)


def test_the_cap_of_a_trainer_holds_in_every_block() -> None:
    """An account that never saw a block has nothing there yet."""
    book = opened(2)
    leave = permit(trainer_share=Share.parse("0.01"))
    assert isinstance(book.reserve([training(noise="3", steps=300).placed(2, alone=True)], leave), Exhausted)
    assert book.standing(leave.principal).trainer.balance(Block.TRAIN.at(2)).committed == Rdp.zero()  # type: ignore[union-attr]


def test_holds_return_and_charges_stay_in_every_block() -> None:
    """Void, and a charge for less than was held."""
    book = opened(2)
    job = book.hold(training().placed(2, alone=False))
    book.keep(ledger.void(book.standing(job=job)))
    assert book.state.account.committed == Rdp.zero()
    book.spend(training(steps=200).placed(2, alone=False), started=[50])
    part = cost(training(steps=50), book)
    assert [balance.charged for balance in book.state.account.balances] == [part, Rdp.zero()] * 2
    assert {balance.held for balance in book.state.account.balances} == {Rdp.zero()}


def test_blocks_open_in_order_and_by_coarse_declared_sizes() -> None:
    """Nothing of a block follows from rows; a retired population gets none."""
    book = opened(1)
    for wrong in (0, 123, 700):
        with pytest.raises(InvalidError):
            ledger.open_block(book.standing(), wrong)
    with pytest.raises(InvalidError):
        book.reserve([training().placed(2, alone=True)])
    book.keep(ledger.open_block(book.standing(), 300))
    assert (book.state.account.homes, book.state.account.size(1), book.state.account.size(2)) == (2, 600, 300)
    for _ in range(MOST_HOMES - 2):
        book.keep(ledger.open_block(book.standing(), 50))
    with pytest.raises(ConflictError):
        ledger.open_block(book.standing(), 50)
    book = opened(1)
    book.keep(ledger.retire(book.standing()))
    with pytest.raises(ConflictError):
        ledger.open_block(book.standing(), 50)


def test_the_offline_fold_has_the_same_blocks_and_finds_a_hold_in_none() -> None:
    """A block that was never opened, one that was skipped, and a charge that leaves out the earlier ones."""
    book = opened(3)
    book.spend(training().placed(3, alone=False), counts().placed(2, alone=True))
    again = replay(posted(book.events))
    assert not again.findings
    assert again.ledgers[book.id].account == book.state.account
    without = [event for event in book.events if event.ledger_seq != 3]
    assert Fault.GAP in {finding.fault for finding in replay(posted(without)).findings}
    charged = book.events[-1]
    part = dataclasses.replace(charged.charges[0], earlier=None)  # type: ignore[attr-defined]
    forged = dataclasses.replace(charged, charges=(part, *charged.charges[1:]))  # type: ignore[attr-defined, call-arg]
    with pytest.raises(CorruptError):
        fold([*book.events[:-1], forged])
    unopened = BlockHold.of(training().placed(4, alone=True), book.state.account.population.budget.order)
    reserved = next(event for event in book.events if event.TYPE == "budget:reserved")
    with pytest.raises(CorruptError):
        fold([*book.events[:3], dataclasses.replace(reserved, holds=(unopened,))])  # type: ignore[call-arg]


# --- requests ---------------------------------------------------------------------------------------------------------


def _final(kind: str, **more: Any) -> dict[str, Any]:
    """A request of a kind in its final form."""
    about = {"purpose": "research", "epsilon": "1"} | more
    declared = jobs.facts()
    match kind:
        case "training":
            return complete_training(training_request(DATASET, label="ill", **about), jobs.SCHEMA, declared).to_json()
        case "tuning":
            body = training_request(DATASET, label="ill", **about) | {"kind": "tuning"}
            return complete_tuning(body, jobs.SCHEMA, declared).to_json()
        case "glm":
            body = glm_request(DATASET, family="logistic", outcome="ill", predictors=["age"], **about)
            return complete_glm(body, jobs.SCHEMA).to_json()
        case "statistics":
            queries = [{"kind": "count"}]
            return complete_statistics(statistics_request(DATASET, queries=queries, **about), jobs.SCHEMA).to_json()
        case _:
            features = default_features(jobs.SCHEMA, "ill")
            body = evaluation_request("rel_" + "a" * 26, DATASET, **about)
            return complete_evaluation(body, features, jobs.SCHEMA).to_json()


@pytest.mark.parametrize("kind", [kind.value for kind in JobKind])
def test_every_kind_of_job_may_ask_for_home_units_alone(kind: str) -> None:
    """It is part of what is decided and approved; without it the form is as it was, and nothing else is read."""
    plain, alone = _final(kind), _final(kind, home=True)
    assert "rows" not in plain
    assert alone == plain | {"rows": "home"}
    assert sees_home_alone(alone)
    assert not sees_home_alone(plain)
    assert read_spec(alone).to_json() == alone
    assert read_spec(alone).digest != read_spec(plain).digest
    with pytest.raises(InvalidError):
        read_spec(plain | {"rows": "mine"})


# --- sealing ---------------------------------------------------------------------------------------------------------


def seal(folder: Path, rows: str, home: int, before: Sealed | None, **options: object) -> Sealed:
    """Seal stays on top of the version before."""
    homes = None if before is None else HomesFile(path=str(before.folder / "homes"), version=VERSION)
    found = ingest_here(
        folder,
        rows.encode(),
        STAYS,
        home=home,
        homes=homes,
        **({"unit": by("patient", 40), "holdout": "0.2"} | options),
    )
    assert isinstance(found, Sealed), found
    return found


def units(of: Sealed, *, earlier: bool, split: Split | None = None) -> Counter[str]:
    """How many rows each unit has in the parts of that kind."""
    chosen = [part for part in of.parts if part.earlier is earlier and split in (None, part.split)]
    only = Sealed(of.folder, chosen, of.fingerprints, of.usage, of.key)
    return Counter(row["patient"] for row in only.rows()) if chosen else Counter()


def stays(*names: str) -> str:
    """A table of stays."""
    return "patient,days\n" + "".join(f"{name},3\n" for name in names)


def test_a_unit_stays_at_home_where_it_first_appeared(tmp_path: Path) -> None:
    """Whatever is sealed between, in whatever block; the side of the split stays, too."""
    names = [f"p{number}" for number in range(40)]
    first = seal(tmp_path, stays(*names[:20]), 1, None)
    second = seal(tmp_path, stays(*names[10:30], *names[10:12]), 2, first)
    third = seal(tmp_path, stays(*names), 3, seal(tmp_path, stays(*names[:2]), 2, second))
    assert [part.name for part in first.parts] == ["train-00000", "holdout-00000"]
    assert {part.name for part in second.parts} == {
        f"{side}{kind}-00000" for side in ("train", "holdout") for kind in ("", "-earlier")
    }
    assert set(units(first, earlier=False)) == set(names[:20])
    assert set(units(second, earlier=True)) == set(names[10:20])
    assert set(units(second, earlier=False)) == set(names[20:30])
    assert units(second, earlier=True)["p10"] == 2
    assert set(units(third, earlier=False)) == set(names[30:])
    assert set(units(third, earlier=True)) == set(names[:30])
    held = {name for of in (first, second, third) for kind in (True, False)
            for name in units(of, earlier=kind, split=Split.HOLDOUT)}  # fmt: skip
    trains = {name for of in (first, second, third) for kind in (True, False)
              for name in units(of, earlier=kind, split=Split.TRAIN)}  # fmt: skip
    assert held
    assert trains
    assert not held & trains


def test_a_later_version_in_an_earlier_block_finds_its_own(tmp_path: Path) -> None:
    """Two versions of one block: a unit of the first is at home in the second as well."""
    first = seal(tmp_path, stays("a", "b"), 1, None)
    second = seal(tmp_path, stays("b", "c"), 2, first)
    third = seal(tmp_path, stays("a", "c", "d"), 2, second)
    assert set(units(third, earlier=False)) == {"c", "d"}
    assert set(units(third, earlier=True)) == {"a"}


def test_files_follow_from_the_block_and_not_from_who_is_there(tmp_path: Path) -> None:
    """Nobody new, or everybody new: the same files."""
    first = seal(tmp_path, stays("a", "b"), 1, None)
    same, other = seal(tmp_path, stays("a"), 2, first), seal(tmp_path, stays("x"), 2, first)
    assert [part.name for part in same.parts] == [part.name for part in other.parts]
    assert set(units(same, earlier=False)) == set() == set(units(other, earlier=True))


def test_records_have_homes_as_well(tmp_path: Path) -> None:
    """Where the unit is the record, a row that is uploaded again is at home where it was first."""
    from tests.support.uploads import RECORD

    first = seal(tmp_path, stays("a", "b", "b"), 1, None, unit=RECORD)
    second = seal(tmp_path, stays("b", "c"), 2, first, unit=RECORD)
    assert (set(units(second, earlier=True)), set(units(second, earlier=False))) == ({"b"}, {"c"})


@pytest.mark.parametrize("spoil", ["altered", "of another version", "cut"])
def test_a_map_that_is_not_the_populations_seals_nothing(tmp_path: Path, spoil: str) -> None:
    """Without its map a person could get a second home: so nothing is sealed."""
    first = seal(tmp_path, stays("a", "b"), 1, None)
    data, version = bytearray((first.folder / "homes").read_bytes()), VERSION
    match spoil:
        case "altered":
            data[-1] ^= 1
        case "cut":
            del data[-20:]
        case _:
            version = VersionId("ver_" + "e" * 26)
    path = tmp_path / "homes"
    path.write_bytes(data)
    with pytest.raises(CorruptError):
        ingest_here(
            tmp_path, stays("a").encode(), STAYS, unit=by("patient"), home=2,
            homes=HomesFile(path=str(path), version=version),
        )  # fmt: skip


@pytest.mark.skipif(not TABLE.is_file(), reason="needs the real data in PRIVGATE_TEST_DATA")
def test_diabetes_130_in_twelve_versions_is_one_population(tmp_path: Path) -> None:
    """Cut by encounter: each patient is at home once, a sixth come back in a later part, and is charged at home."""
    with gzip.open(TABLE, "rt", encoding="utf-8", newline="") as file:
        rows = sorted((int(row[0]), row[1], row[9]) for row in list(csv.reader(file))[1:])
    size = -(-len(rows) // PARTS)
    homes: Counter[str] = Counter()
    seen: list[set[str]] = []
    last: Sealed | None = None
    for number in range(PARTS):
        sink = io.StringIO()
        writer = csv.writer(sink)
        writer.writerow(["patient", "days"])
        writer.writerows(row[1:] for row in rows[number * size : (number + 1) * size])
        last = seal(tmp_path, sink.getvalue(), number + 1, last)
        fresh, known = set(units(last, earlier=False)), set(units(last, earlier=True))
        assert not fresh & known
        assert known == (fresh | known) & set().union(*seen, set())
        homes.update(fresh)
        seen.append(fresh | known)
    patients = {row[1] for row in rows}
    assert set(homes) == patients
    assert set(homes.values()) == {1}
    several = sum(count > 1 for count in Counter(name for part in seen for name in part).values())
    assert round(100 * several / len(patients)) == 16
