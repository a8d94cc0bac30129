"""Purposes, datasets, grants, approvals, principals, tenant policy and words: each rule of each module once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.events import Commitment
from kernel.ids import DatasetId, GrantId, PopulationId, PrincipalId, Slug, TenantId
from policies.datasets import MOVES, GovernedDataset, check_basis
from policies.grants import Grant, GrantState, Obligations
from policies.principals import Principal, conflicting
from policies.purposes import DEEPEST, MOST_PURPOSES, PurposeDag
from policies.sentences import SENTENCES
from policies.tenant_policy import STANDARD_POLICY, ApprovalNeeded, ReleaseCeiling, TenantPolicy
from policies.vocabulary import (
    Action,
    ApprovalVerdict,
    CheckedBy,
    DatasetState,
    ExactRelease,
    JobKind,
    LegalBasis,
    Obligation,
    Reason,
    Role,
    Sensitivity,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
S = Slug
COMMITMENT = Commitment(Digest.of(b"a name"))


class TestWords:
    """The closed vocabulary."""

    def test_sensitivities_compare_by_rank(self) -> None:
        """`confidential` is above `internal`, although its text comes first."""
        assert sorted(Sensitivity) == ["public", "internal", "confidential", "restricted"]
        assert max(Sensitivity.PUBLIC, Sensitivity.RESTRICTED) is Sensitivity.RESTRICTED
        low, high = Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL
        assert low < high
        assert low <= low
        assert high > low
        assert not high <= low
        assert not low >= high

    def test_every_reason_has_a_sentence_of_its_own(self) -> None:
        """A refusal that says nothing useful is half a refusal."""
        assert set(SENTENCES) == set(Reason)
        assert len(set(SENTENCES.values())) == len(Reason)
        assert all(text.endswith(".") and len(text) < 120 for text in SENTENCES.values())

    @pytest.mark.parametrize("word", [*Reason, *LegalBasis, *Obligation, *Role, *DatasetState, *JobKind])
    def test_words_are_slugs(self, word: str) -> None:
        """They go into URLs, rows and reports unchanged."""
        assert Slug(word) == word

    def test_actions_are_noun_and_verb(self) -> None:
        """`noun:verb`, each once."""
        assert all(len(action.split(":")) == 2 for action in Action)
        assert len(Action) == 44


class TestPurposes:
    """The graph of purposes."""

    def test_a_purpose_lies_within_what_is_above_it(self) -> None:
        """Along any number of steps, never the other way round, and never by its name alone."""
        dag = PurposeDag().add(S("research")).add(S("care")).add(S("oncology"), [S("research")])
        dag = dag.add(S("lung"), [S("oncology"), S("care")]).add(S("research/named-so"))
        assert dag.is_within(S("lung"), S("research"))
        assert dag.is_within(S("lung"), S("care"))
        assert dag.is_within(S("lung"), S("lung"))
        assert not dag.is_within(S("research"), S("lung"))
        assert not dag.is_within(S("research/named-so"), S("research"))
        assert not dag.is_within(S("unknown"), S("unknown"))
        assert dag.is_within_any(S("lung"), [S("nothing"), S("care")])

    def test_a_cycle_is_refused(self) -> None:
        """Directly, through others, and with oneself."""
        dag = PurposeDag().add(S("a")).add(S("b"), [S("a")]).add(S("c"), [S("b")])
        for parents in ([S("c")], [S("b")], [S("a")]):
            with pytest.raises(ConflictError):
                dag.add(S("a"), parents)

    def test_an_unknown_parent_and_a_repetition_are_refused(self) -> None:
        """Wider purposes come first; saying the same again is no event."""
        dag = PurposeDag().add(S("a")).add(S("b"), [S("a")])
        with pytest.raises(InvalidError):
            dag.add(S("c"), [S("never-defined")])
        for purpose, within in ((S("a"), []), (S("b"), [S("a")])):
            with pytest.raises(ConflictError):
                dag.add(purpose, within)

    def test_a_new_parent_widens_what_is_below(self) -> None:
        """A later link reaches the purposes that were there before; the older graph is untouched."""
        before = PurposeDag().add(S("a")).add(S("b"), [S("a")]).add(S("z"))
        after = before.add(S("a"), [S("z")])
        assert after.is_within(S("b"), S("z"))
        assert not before.is_within(S("b"), S("z"))

    def test_the_graph_stays_small(self) -> None:
        """Depth and number are bounded, so that a chain cannot slow every decision."""
        dag = PurposeDag().add(S("p0"))
        for number in range(1, DEEPEST):
            dag = dag.add(S(f"p{number}"), [S(f"p{number - 1}")])
        with pytest.raises(InvalidError):
            dag.add(S("too-deep"), [S(f"p{DEEPEST - 1}")])
        for number in range(DEEPEST, MOST_PURPOSES):
            dag = dag.add(S(f"p{number}"))
        with pytest.raises(InvalidError):
            dag.add(S("one-more"))


def dataset(**facts: Any) -> GovernedDataset:
    """A valid dataset with other facts."""
    standard: dict[str, Any] = {
        "id": DatasetId("dst_" + "a" * 26),
        "tenant": TenantId("ten_" + "a" * 26),
        "owner": PrincipalId("prn_" + "a" * 26),
        "population": PopulationId("pop_" + "a" * 26),
        "sensitivity": Sensitivity.CONFIDENTIAL,
        "purposes": (S("research"),),
        "legal_basis": LegalBasis.GDPR_PUBLIC_TASK,
        "retention_until": NOON,
    }
    return GovernedDataset(**(standard | facts))


class TestDatasets:
    """The governance of a dataset."""

    @pytest.mark.parametrize("before", DatasetState)
    @pytest.mark.parametrize("after", DatasetState)
    def test_only_the_listed_moves_exist(self, before: DatasetState, after: DatasetState) -> None:
        """Every pair of states: what is not in the table is refused, and so is a wrong `before`."""
        found = dataset(state=before)
        if after in MOVES[before]:
            assert found.moved(before, after).state is after
        else:
            with pytest.raises(ConflictError):
                found.moved(before, after)
        for other in set(DatasetState) - {before}:
            with pytest.raises(ConflictError):
                found.moved(other, after)

    def test_retired_is_final(self) -> None:
        """There is no way back, and everything but sealing leads there."""
        assert MOVES[DatasetState.RETIRED] == frozenset()
        assert {s for s in DatasetState if DatasetState.RETIRED in MOVES[s]} == {"registered", "sealed"}

    @pytest.mark.parametrize(
        ("basis", "condition", "sensitivity", "holds"),
        [
            (LegalBasis.GDPR_CONSENT, None, Sensitivity.RESTRICTED, True),
            (LegalBasis.GDPR_PUBLIC_TASK, LegalBasis.GDPR_RESEARCH, Sensitivity.RESTRICTED, True),
            (LegalBasis.PIPL_CONSENT, None, Sensitivity.CONFIDENTIAL, True),
            (LegalBasis.NOT_PERSONAL_DATA, None, Sensitivity.PUBLIC, True),
            (LegalBasis.NOT_PERSONAL_DATA, None, Sensitivity.INTERNAL, False),
            (LegalBasis.GDPR_RESEARCH, None, Sensitivity.RESTRICTED, False),
            (LegalBasis.GDPR_RESEARCH, LegalBasis.GDPR_RESEARCH, Sensitivity.RESTRICTED, False),
            (LegalBasis.GDPR_CONSENT, LegalBasis.GDPR_CONTRACT, Sensitivity.RESTRICTED, False),
            (LegalBasis.PIPL_CONSENT, LegalBasis.GDPR_RESEARCH, Sensitivity.RESTRICTED, False),
            (LegalBasis.NOT_PERSONAL_DATA, LegalBasis.GDPR_RESEARCH, Sensitivity.PUBLIC, False),
        ],
    )
    def test_a_basis_must_be_able_to_carry_the_use(
        self, basis: LegalBasis, condition: LegalBasis | None, sensitivity: Sensitivity, holds: bool
    ) -> None:
        """A condition of art. 9 stands beside a basis of art. 6; data that are not public need a basis."""
        if holds:
            check_basis(basis, condition, sensitivity)
            assert dataset(legal_basis=basis, special_condition=condition, sensitivity=sensitivity)
        else:
            with pytest.raises(InvalidError):
                dataset(legal_basis=basis, special_condition=condition, sensitivity=sensitivity)

    @pytest.mark.parametrize(
        "facts",
        [
            {"purposes": ()},
            {"purposes": (S("a"), S("a"))},
            {"purposes": tuple(S(f"p{n}") for n in range(33))},
            {"retention_until": datetime(2026, 1, 1)},  # noqa: DTZ001
            {"basis_until": NOON + timedelta(microseconds=1)},
        ],
    )
    def test_nonsense_cannot_be_built(self, facts: dict[str, Any]) -> None:
        """Purposes are given and differ; times are UTC and whole seconds."""
        with pytest.raises(InvalidError):
            dataset(**facts)


def grant(**facts: Any) -> Grant:
    """A valid grant with other facts."""
    standard: dict[str, Any] = {
        "id": GrantId("grt_" + "a" * 26),
        "principal": PrincipalId("prn_" + "a" * 26),
        "dataset": DatasetId("dst_" + "a" * 26),
        "purpose": S("research"),
        "until": NOON,
        "job_kinds": (JobKind.TRAINING,),
        "obligations": Obligations(trainer_share=Share.parse("1"), approval_required=False),
    }
    return Grant(**(standard | facts))


class TestGrants:
    """The owner's permission."""

    def test_it_ends_at_its_instant(self) -> None:
        """One second before it stands; at `until` it has ended."""
        assert not grant().expired(NOON - timedelta(seconds=1))
        assert grant().expired(NOON)

    def test_revoking_is_once_and_final(self) -> None:
        """A revoked grant stays revoked and cannot be revoked again."""
        gone = grant().revoked()
        assert gone.state is GrantState.REVOKED
        with pytest.raises(ConflictError):
            gone.revoked()

    @pytest.mark.parametrize("kinds", [(), (JobKind.TRAINING, JobKind.TRAINING)])
    def test_it_lists_each_kind_of_job_once(self, kinds: tuple[JobKind, ...]) -> None:
        """A grant for nothing, or for the same twice, is a mistake."""
        with pytest.raises(InvalidError):
            grant(job_kinds=kinds)

    def test_obligations_say_which_of_them_bind(self) -> None:
        """The trainer's share always binds; the others when they are set."""
        bare = Obligations(trainer_share=Share.parse("1"), approval_required=False)
        full = Obligations(
            trainer_share=Share.parse("0.1"),
            approval_required=True,
            max_epsilon=Epsilon.parse("1"),
            auto_release_epsilon=Epsilon.parse("0.5"),
            exact_release=ExactRelease.TWO_APPROVALS,
        )
        assert bare.names() == (Obligation.TRAINER_SHARE,)
        assert full.names() == tuple(Obligation)


class TestPeople:
    """Principals and who may be what."""

    @pytest.mark.parametrize("exclusive", [Role.ADMIN, Role.AUDITOR])
    def test_exclusive_roles_stand_alone(self, exclusive: Role) -> None:
        """Admin and auditor share a principal with no other role, whichever comes first."""
        alone = Principal(id=PrincipalId("prn_" + "a" * 26), name=COMMITMENT).with_role(exclusive)
        for other in set(Role) - {exclusive}:
            assert conflicting({exclusive, other})
            with pytest.raises(ConflictError):
                alone.with_role(other)
            with pytest.raises(ConflictError):
                alone.without_role(exclusive).with_role(other).with_role(exclusive)

    def test_owner_trainer_and_checker_may_meet(self) -> None:
        """In a small house one person does several things; duties part them case by case."""
        assert not conflicting({Role.OWNER, Role.TRAINER, Role.CHECKER})

    def test_disabling_is_final(self) -> None:
        """Not twice, and no role comes after it."""
        gone = Principal(id=PrincipalId("prn_" + "a" * 26), name=COMMITMENT).disabled()
        with pytest.raises(ConflictError):
            gone.disabled()
        with pytest.raises(ConflictError):
            gone.with_role(Role.OWNER)


class TestTenantPolicy:
    """The tenant's settings."""

    def test_the_standard_policy_is_the_cautious_one(self) -> None:
        """Nothing leaves by itself; restricted data need a yes for every kind of job."""
        assert all(STANDARD_POLICY.ceiling(sensitivity) is None for sensitivity in Sensitivity)
        assert all(STANDARD_POLICY.needs_approval(Sensitivity.RESTRICTED, kind) for kind in JobKind)
        assert not STANDARD_POLICY.needs_approval(Sensitivity.CONFIDENTIAL, JobKind.TRAINING)

    @pytest.mark.parametrize(
        "facts",
        [
            {"checked_by": ()},
            {"checked_by": (CheckedBy.OWNER, CheckedBy.OWNER)},
            {"ceilings": (ReleaseCeiling(sensitivity=Sensitivity.PUBLIC, epsilon=Epsilon.parse("1")),) * 2},
            {"approvals": (ApprovalNeeded(sensitivity=Sensitivity.PUBLIC, job_kind=JobKind.TRAINING),) * 2},
        ],
    )
    def test_settings_do_not_contradict_themselves(self, facts: dict[str, Any]) -> None:
        """Somebody must be able to check, and nothing is said twice."""
        standard: dict[str, Any] = {"approvals": (), "ceilings": (), "checked_by": (CheckedBy.OWNER,)}
        with pytest.raises(InvalidError):
            TenantPolicy(**(standard | facts))


def test_an_approval_is_for_one_request_until_an_instant(world: Any) -> None:
    """Another digest, or the instant of its end, and it says nothing."""
    given = world.approval("otto", ApprovalVerdict.APPROVED, until=NOON)
    assert given.concerns(world.digest("job"), NOON - timedelta(seconds=1))
    assert not given.concerns(world.digest("job"), NOON)
    assert not given.concerns(world.digest("another job"), NOON - timedelta(seconds=1))
    assert not given.concerns(None, NOON - timedelta(seconds=1))
