"""The governance of a dataset: whose it is, how sensitive, for what, on which basis, how long, in which state.

Rules
-----
1. Schema, unit and budget are not here: they belong to `privacy`. What is here decides who may ask.
2. Personal data need a legal basis; a condition of GDPR art. 9 stands beside a basis of art. 6 and never alone;
   `not-personal-data` is believed for public data only.
3. Basis and retention end at an instant; from that instant on nothing new is decided on these data.
4. States change along `MOVES` only. `retired` is final.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from kernel.checks import whole
from kernel.clock import check_time
from kernel.errors import ConflictError, InvalidError
from kernel.ids import DatasetId, PopulationId, PrincipalId, Slug, TenantId
from policies.vocabulary import DatasetState, LegalBasis, Sensitivity

MOST_PURPOSES_OF_A_DATASET = 32

MOVES: dict[DatasetState, frozenset[DatasetState]] = {
    DatasetState.REGISTERED: frozenset({DatasetState.SEALING, DatasetState.RETIRED}),
    DatasetState.SEALING: frozenset({DatasetState.SEALED, DatasetState.REGISTERED}),
    DatasetState.SEALED: frozenset({DatasetState.SEALING, DatasetState.RETIRED}),
    DatasetState.RETIRED: frozenset(),
}
"""A refused first upload goes back to `registered`; a refused later one back to `sealed`: the old version stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedDataset:
    """A dataset as the policy knows it.

    Attributes:
        population: Whose budget it draws on.
        purposes: What it may be used for at all; a grant narrows this further.
        legal_basis: GDPR art. 6(1) or PIPL art. 13(1).
        special_condition: GDPR art. 9(2), where the data are of a special category.
        basis_until: From this instant the basis no longer carries use; absent if it has no end.
        retention_until: From this instant the data must not be used any more.
    """

    id: DatasetId
    tenant: TenantId
    owner: PrincipalId
    population: PopulationId
    sensitivity: Sensitivity
    purposes: tuple[Slug, ...]
    legal_basis: LegalBasis
    retention_until: datetime
    special_condition: LegalBasis | None = None
    basis_until: datetime | None = None
    state: DatasetState = DatasetState.REGISTERED

    def __post_init__(self) -> None:
        whole(1, MOST_PURPOSES_OF_A_DATASET, purposes=len(self.purposes))
        if len(set(self.purposes)) != len(self.purposes):
            raise InvalidError("`purposes` must not repeat", field="purposes")
        check_time(self.retention_until, "retention_until")
        if self.basis_until is not None:
            check_time(self.basis_until, "basis_until")
        check_basis(self.legal_basis, self.special_condition, self.sensitivity)

    def moved(self, before: DatasetState, after: DatasetState) -> GovernedDataset:
        """Change state.

        Raises:
            ConflictError: `before` is not the state, or the move is not in `MOVES`.
        """
        if self.state is not before:
            raise ConflictError(f"the dataset is {self.state.value}", field="state")
        if after not in MOVES[before]:
            raise ConflictError(f"a {before.value} dataset cannot become {after.value}", field="state")
        return replace(self, state=after)


def check_basis(basis: LegalBasis, condition: LegalBasis | None, sensitivity: Sensitivity) -> None:
    """Refuse a combination that could not carry the processing.

    Raises:
        InvalidError: See rule 2 of the module.
    """
    if basis.is_condition:
        raise InvalidError("name a basis of GDPR art. 6 beside a condition of art. 9", field="legal_basis")
    if condition is not None and not (condition.is_condition and basis.is_gdpr_basis):
        raise InvalidError(
            "a special condition is one of GDPR art. 9(2), beside a GDPR basis", field="special_condition"
        )
    if basis is LegalBasis.NOT_PERSONAL_DATA and sensitivity is not Sensitivity.PUBLIC:
        raise InvalidError(
            "data that are not public need a legal basis; `not-personal-data` goes with `sensitivity` public alone",
            field="legal_basis",
        )
