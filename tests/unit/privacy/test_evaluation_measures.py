"""What an evaluation measures: sensitivity by brute force, prices that add up, requests completed or refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.amounts import Rdp, Share
from kernel.errors import InvalidError, PrivgateError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian
from privacy.accounting.price import price
from privacy.evaluation import runner
from privacy.evaluation.design import Design
from privacy.evaluation.encoding import GroupedEncoder
from privacy.evaluation.report import evaluation_bytes, evaluation_json, read_evaluation
from privacy.evaluation.runner import wanted_of
from privacy.evaluation.scoring import count_rows
from privacy.graph.weights import pack_weights
from privacy.jobs.evaluation_measures import MOST_CONFUSED, Part, default_shares, measures
from privacy.jobs.evaluation_plan import EvaluationPlan
from privacy.jobs.feasibility import Feasibility, feasibility
from privacy.jobs.features import FeatureSpec
from privacy.jobs.labels import Target
from privacy.jobs.spec import EvaluationSpec, complete_evaluation
from privacy.schema import TableSchema
from privacy.sealing.manifest import Split
from privacy.training.units import UnitTable
from privgate.evaluations import Evaluation
from tests.support import jobs

LABELS = {"binary": "ill", "classes": "ward", "real": "dose"}
GROUPED = ["stage", "smoker"]
TRAINED = {kind: jobs.spec(label=label) for kind, label in LABELS.items()}
MODELS = {kind: trained.model_graph(jobs.SCHEMA) for kind, trained in TRAINED.items()}


def _plan(kind: str, rows_per_unit: int = 1, **choices: Any) -> EvaluationPlan:
    declared = jobs.facts(rows_per_unit=rows_per_unit)
    return jobs.evaluation_plan(TRAINED[kind].features, jobs.SCHEMA, declared, **choices)


def _full(kind: str, rows_per_unit: int = 1) -> EvaluationPlan:
    """Everything that such a model can be asked for."""
    return _plan(kind, rows_per_unit, subgroups=GROUPED, **({} if kind == "real" else {"confusion": True}))


# --- sensitivity -----------------------------------------------------------------------------------------------------


def _vectors(plan: EvaluationPlan, kind: str, table: pa.Table, weights: dict[str, Any], scale: float) -> list[Any]:
    """What the child adds up, by the same encoder, unit table and counter."""
    encoder = GroupedEncoder(TRAINED[kind].features, jobs.SCHEMA, plan.columns)
    units = np.array([int(name[1:]) for name in table.column("patient").to_pylist()], dtype=np.int64)
    rows = UnitTable.by_unit(encoder.encode(table), units, plan.rows_per_unit).used_rows()
    own, groups = encoder.split(rows)
    return count_rows(
        MODELS[kind], {name: value * scale for name, value in weights.items()}, own, wanted_of(plan), groups
    )


@given(
    kind=st.sampled_from(sorted(LABELS)),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    rows_per_unit=st.integers(1, 40),
    scale=st.sampled_from([0.0, 0.3, 5.0, 1e4]),
    alike=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(kind="real", sizes=[40, 3], rows_per_unit=40, scale=1e4, alike=True, seed=1)
@example(kind="classes", sizes=[17, 40], rows_per_unit=5, scale=5.0, alike=True, seed=2)
@settings(max_examples=40, deadline=None)
def test_a_unit_moves_each_vector_by_at_most_its_rows_times_the_sensitivity(
    kind: str, sizes: list[int], rows_per_unit: int, scale: float, alike: bool, seed: int
) -> None:
    """Without each unit in turn, of 1 to 40 rows and whatever they are: the Euclidean change of every vector."""
    plan = _full(kind, rows_per_unit)
    draw = np.random.default_rng(seed)
    weights = {w.name: draw.normal(size=w.shape).astype(np.float32) for w in MODELS[kind].graph.weights}
    table = jobs.people(sum(sizes), seed)
    units = np.repeat(np.arange(len(sizes)), sizes)
    if alike:  # every unit's rows are one row, many times
        table = table.take(np.searchsorted(units, units))
    table = table.set_column(0, "patient", pa.array([f"p{unit}" for unit in units]))
    table = table.set_column(
        table.column_names.index("stage"), "stage", pa.array(draw.choice(["i", "ii", "iii", None], len(units)))
    )
    whole = _vectors(plan, kind, table, weights, scale)
    for unit in range(len(sizes)):
        without = _vectors(plan, kind, table.filter(pa.array(units != unit)), weights, scale)
        for measure, more, less in zip(plan.measures, whole, without, strict=True):
            change = math.sqrt(sum(int(number) ** 2 for number in more - less))
            assert change <= rows_per_unit * measure.sensitivity


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_the_bound_is_reached_by_rows_that_are_all_alike(kind: str) -> None:
    """Of counts exactly; of errors to a thousandth, where error, label and its square are all as large as can be."""
    plan = _full(kind, 7)
    table = jobs.people(7).take([0] * 7)
    table = table.set_column(0, "patient", pa.array(["p0"] * 7)).set_column(2, "dose", pa.array([5.0] * 7))
    weights = {w.name: np.zeros(w.shape, np.float32) for w in MODELS[kind].graph.weights}
    moved = _vectors(plan, kind, table, weights, 1.0)
    for measure, vector in zip(plan.measures, moved, strict=True):
        reached = math.sqrt(sum(int(number) ** 2 for number in vector)) / (7 * measure.sensitivity)
        assert 0.999 <= reached <= 1


def test_a_row_of_no_group_counts_in_everything_else() -> None:
    """A missing category takes it out of the subgroups of that column alone."""
    plan = _full("binary")
    table = jobs.people(50)
    weights = {w.name: np.ones(w.shape, np.float32) for w in MODELS["binary"].graph.weights}
    before = _vectors(plan, "binary", table, weights, 1.0)
    stages = pa.array([None, *table.column("smoker").to_pylist()[1:]], pa.bool_())
    after = _vectors(
        plan, "binary", table.set_column(table.column_names.index("smoker"), "smoker", stages), weights, 1.0
    )
    # The features need the column as well, so that the row is dead for them; of a column that is no feature see below.
    assert [int(vector.sum()) for vector in after] == [49, 49, 49, 49]
    narrow = TRAINED["binary"].features.to_json()
    narrow["columns"] = [column for column in narrow["columns"] if column["column"] != "smoker"]
    features = FeatureSpec.from_json(narrow)
    encoder = GroupedEncoder(features, jobs.SCHEMA, plan.columns)
    rows, groups = encoder.split(encoder.encode(table.set_column(table.column_names.index("smoker"), "smoker", stages)))
    assert rows.alive.all()
    assert groups[0].tolist() == [("i", "ii", "iii").index(table.column("stage")[0].as_py()), -1]
    assert [int(vector.sum()) for vector in before] == [50, 50, 50, 50]


# --- prices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LABELS))
@pytest.mark.parametrize("rows_per_unit", [1, 40])
def test_the_price_is_that_of_the_noise_which_is_added(kind: str, rows_per_unit: int) -> None:
    """A measure's deviation over its sensitivity is its multiplier; the ledger's price is their sum, to the digit."""
    plan, order = _full(kind, rows_per_unit), 8
    design = Design.of(plan, TRAINED[kind].features, jobs.SCHEMA)
    exact = Fraction(0)
    for measure, vector, use in zip(plan.measures, design.vectors, plan.uses(), strict=True):
        assert isinstance(use, Gaussian)
        ratio = Fraction(vector.noise.number) / (rows_per_unit * measure.sensitivity)
        assert ratio == Fraction(use.noise_multiplier.number)
        exact += Fraction(order) / (2 * ratio**2)
    charged = price(*plan.uses(), order=order)
    assert exact <= Fraction(charged.value) <= exact + Fraction(1, 10**8)
    whole = price(Gaussian(noise_multiplier=plan.noise_multiplier, count=1), order=order)
    assert charged <= Rdp.up(whole.value + Decimal("1e-8"))
    assert float(charged.value) >= 0.9999 * float(whole.value)


def test_whatever_is_asked_for_costs_the_same() -> None:
    """Default shares and chosen ones: the noise multiplier of the whole job is one and the same."""
    plans = [_plan("binary"), _full("binary"), _plan("binary", confusion=True), _plan("real"), _full("real")]
    plans.append(_plan("binary", shares={"confusion": "0.9", "scores": "0.1"}))
    multipliers = [float(plan.noise_multiplier.number) for plan in plans]
    assert max(multipliers) / min(multipliers) < 1.00001
    assert len({price(*plan.uses(), order=8).value.quantize(Decimal("1e-5")) for plan in plans}) == 1


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_whether_it_can_succeed_is_judged_in_rows(kind: str) -> None:
    """Whatever unit a measure's numbers have: many people are likely, few are hopeless."""
    plan = _full(kind)
    assert feasibility(plan, 10**6, Share.parse("0.2")) is Feasibility.LIKELY
    assert feasibility(plan, 100, Share.parse("0.2")) is Feasibility.HOPELESS


@pytest.mark.parametrize("target", list(Target))
@pytest.mark.parametrize("subgroups", [False, True])
def test_default_shares_add_up_and_pay_for_right_and_wrong_once(target: Target, subgroups: bool) -> None:
    """No outcomes beside a confusion matrix, from which the accuracy follows."""
    for confusion in (False, *([] if target is Target.REAL else [True])):
        shares = default_shares(target, confusion=confusion, subgroups=subgroups)
        assert sum(share.value for share in shares.values()) == 1
        assert not {Part.OUTCOMES, Part.CONFUSION} <= set(shares)
        groups = [(3, 3), (5, 2)] if subgroups else []
        made = measures(shares, target, 3 if target is Target.CLASSES else 2, 8, groups)
        assert sum(measure.share.value for measure in made) <= 1


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_completed_request_is_final() -> None:
    """Completed again it is itself; read as the final form as well."""
    for kind in LABELS:
        features = TRAINED[kind].features
        wanted = complete_evaluation(jobs.evaluation_request(subgroups=["stage"]), features, jobs.SCHEMA)
        assert complete_evaluation(wanted.to_json(), features, jobs.SCHEMA) == wanted
        assert EvaluationSpec.from_json(wanted.to_json()) == wanted


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("binary", {"confusion": "yes"}, "confusion"),
    ("real", {"confusion": True}, "confusion"),
    ("binary", {"shares": {"outcomes": "0.5", "scores": "0.4"}}, "shares"),
    ("binary", {"shares": {"outcomes": "0.995", "scores": "0.005"}}, "shares"),
    ("binary", {"shares": {"outcomes": "0.5", "confusion": "0.5"}}, "shares"),
    ("binary", {"shares": {"scores": "1"}}, "shares"),
    ("binary", {"shares": {"errors": "1"}}, "shares"),
    ("real", {"shares": {"outcomes": "1"}}, "shares"),
    ("binary", {"shares": {"outcomes": "0.5", "subgroups": "0.5"}}, "shares"),
    ("binary", {"shares": {"outcomes": "1"}, "subgroups": ["ward"]}, "shares"),
    ("binary", {"shares": {"outcomes": "1"}, "confusion": True}, "confusion"),
    ("binary", {"shares": {"accuracy": "1"}}, "shares"),
    ("binary", {"shares": ["outcomes"]}, "shares"),
    ("binary", {"subgroups": ["age"]}, "subgroups"),
    ("binary", {"subgroups": ["patient"]}, "subgroups"),
    ("binary", {"subgroups": ["nobody"]}, "subgroups"),
    ("binary", {"subgroups": ["ward", "ward"]}, "subgroups"),
    ("binary", {"subgroups": "ward"}, "subgroups"),
    ("binary", {"bins": 1}, "bins"),
    ("binary", {"bins": 65}, "bins"),
    ("real", {"bins": 8}, "bins"),
    ("binary", {"error_bound": "0.5"}, "error_bound"),
    ("real", {"error_bound": "1.1"}, "error_bound"),
    ("real", {"error_bound": "0"}, "error_bound"),
    ("binary", {"least_group": -1}, "least_group"),
    ("binary", {"accuracy_share": "0.5"}, "request"),
]


@pytest.mark.parametrize(("kind", "choice", "field"), WRONG)
def test_a_wrong_choice_names_its_field(kind: str, choice: dict[str, Any], field: str) -> None:
    """Refused when it is asked for, before anything is held."""
    with pytest.raises(InvalidError) as error:
        complete_evaluation(jobs.evaluation_request(**choice), TRAINED[kind].features, jobs.SCHEMA)
    assert error.value.field == field


def test_a_confusion_matrix_of_many_classes_is_refused() -> None:
    """Its cells would be noise alone."""
    many = {"name": "town", "kind": "categorical", "categories": [f"t{place}" for place in range(MOST_CONFUSED + 1)]}
    schema = TableSchema.from_json({"columns": [many, {"name": "age", "kind": "numeric", "low": "0", "high": "9"}]})
    features = jobs.spec(None, schema, label="town").features
    complete_evaluation(jobs.evaluation_request(), features, schema)
    with pytest.raises(InvalidError, match="classes"):
        complete_evaluation(jobs.evaluation_request(confusion=True), features, schema)


def test_a_plan_of_other_lengths_or_less_noise_is_no_plan() -> None:
    """A child is held to what one row adds, and to the classes and categories of its table."""
    plan = _full("real")
    fields = plan.to_fields()
    for place in range(len(plan.measures)):
        changed = [dict(measure) for measure in fields["measures"]]
        changed[place]["sensitivity"] -= 1
        with pytest.raises(InvalidError):
            EvaluationPlan.from_fields(fields | {"measures": changed})
    greedy = [measure | {"share": "0.9"} for measure in fields["measures"]]
    with pytest.raises(InvalidError):
        EvaluationPlan.from_fields(fields | {"measures": greedy})


# --- suppression -----------------------------------------------------------------------------------------------------


def test_what_is_shown_depends_on_noisy_counts_alone(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two holdouts, one with nobody in two of the wards, and the same noisy numbers: the same file, byte for byte."""
    sealed = jobs.seal([jobs.people(60)], tmp_path / "train")
    trained = jobs.training(sealed, recipe={"steps": 5})
    everybody = jobs.people(200)
    only = everybody.set_column(everybody.column_names.index("ward"), "ward", pa.array(["a"] * 200))
    weights = {w.name: np.ones(w.shape, np.float32) for w in trained.graph.weights}
    monkeypatch.setattr(
        runner, "add_noise", lambda design, _: [[place % 7 - 2 for place in range(v.cells)] for v in design.vectors]
    )
    files = []
    for name, table in (("everybody", everybody), ("only", only)):
        holdout = jobs.seal([table], tmp_path / name, Split.HOLDOUT)
        assignment = jobs.evaluation(holdout, trained, subgroups=["ward"], release="rel_" + "b" * 26)
        run = jobs.converse_here(assignment, holdout.key.reveal() + pack_weights(trained.graph, weights))
        files.append(run.artifact)
    assert files[0] is not None
    assert files[0] == files[1]


@given(numbers=st.lists(st.integers(-30, 30), min_size=12, max_size=12), least=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_a_group_is_shown_exactly_if_its_noisy_count_reaches_the_minimum(numbers: list[int], least: int) -> None:
    """And it has no figure, and enters no gap, otherwise."""
    plan = _plan("binary", subgroups=["ward"], least_group=least)
    design = Design.of(plan, TRAINED["binary"].features, jobs.SCHEMA)
    body = evaluation_json(design, ([9, 1], [1] * 16, numbers))
    (told,) = body["subgroups"]
    shown = 0
    for place, group in enumerate(told["groups"]):
        noisy = sum(numbers[4 * place : 4 * place + 4])
        assert group["suppressed"] == (noisy < least)
        assert ("accuracy" in group) != group["suppressed"]
        shown += not group["suppressed"]
    assert bool(told["gaps"]) == (shown >= 2)
    assert evaluation_bytes(design, ([9, 1], [1] * 16, numbers))


def test_the_deviation_is_written_exactly() -> None:
    """No digit of what the sampler gets is lost on the way into the file."""
    plan = _full("real", 40)
    for place, measure in enumerate(plan.measures):
        assert plan.deviation(place) == Parameter(plan.noise_of(place).number * 40 * measure.sensitivity)


# --- hostile files ---------------------------------------------------------------------------------------------------

LARGEST = 2**53 - 1
HOSTILE = st.one_of(
    st.sampled_from([-LARGEST, -1, 0, 1, LARGEST]), st.integers(-50, 50), st.integers(-LARGEST, LARGEST)
)


@given(data=st.data(), kind=st.sampled_from(sorted(LABELS)))
@settings(max_examples=40, deadline=None)
def test_no_numbers_and_no_noise_break_the_reader(data: st.DataObject, kind: str) -> None:
    """Whatever a lying child or gateway writes has figures, within their intervals; of honest noise never an error."""
    design = Design.of(_full(kind), TRAINED[kind].features, jobs.SCHEMA)
    noise = data.draw(st.sampled_from([None, "0.0000000000000000000000000000000001", "1", "1e30"]))
    if noise is not None:
        design = replace(design, vectors=tuple(replace(v, noise=Parameter(noise)) for v in design.vectors))
    numbers = [data.draw(st.lists(HOSTILE, min_size=v.cells, max_size=v.cells)) for v in design.vectors]
    try:
        written = evaluation_bytes(design, numbers)
    except (PrivgateError, ArithmeticError, ValueError):
        # Of noise that no plan has there may be no figures: `read_evaluation` says so.
        assert noise not in (None, "1")
        return
    assert read_evaluation(written, design)[0] == design
    for figure in Evaluation.read(written).figures:
        assert figure.value is None or Decimal(figure.low) <= Decimal(figure.value) <= Decimal(figure.high)


def test_noise_that_leaves_no_figures_is_refused() -> None:
    """Not a number, or an overflow on the way, is an error of ours in the worker and in the verifier."""
    design = Design.of(_full("real"), TRAINED["real"].features, jobs.SCHEMA)
    numbers = [[LARGEST if place % 2 else 1 for place in range(vector.cells)] for vector in design.vectors]
    body = json.loads(evaluation_bytes(design, numbers))
    for noise in ("9e33", "1e-33", "0", "-1", "NaN"):
        for place in range(len(body["measured"])):
            changed = json.loads(json.dumps(body))
            changed["measured"][place]["noise"] = noise
            with pytest.raises(PrivgateError):
                read_evaluation(canonical.encode(changed))
