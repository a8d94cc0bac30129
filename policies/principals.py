"""Principals: who acts, in which roles.

Rules
-----
1. A principal is a random id. The name is a keyed commitment; the map to people is kept elsewhere and can be erased.
2. Every enrolled principal is a `member`; roles come on top. Credentials are not policy and stay in the gateway.
3. `admin` and `auditor` are exclusive: who holds one holds no other role. An auditor's independence and an
   administrator's distance from data are then a matter of the table, not of care.
4. Disabling is final. A person who comes back is enrolled anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kernel.errors import ConflictError
from kernel.events import Commitment
from kernel.ids import PrincipalId
from policies.vocabulary import Role

MEMBER = "member"
"""What every enrolled principal belongs to; not a role that can be assigned or removed."""

EXCLUSIVE_ROLES = frozenset({Role.ADMIN, Role.AUDITOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated actor as the policy knows it."""

    id: PrincipalId
    name: Commitment
    roles: frozenset[Role] = frozenset()
    enabled: bool = True

    def with_role(self, role: Role) -> Principal:
        """Take on a role; raise `ConflictError` if held already, disabled, or in conflict with another."""
        if not self.enabled:
            raise ConflictError("a disabled principal takes no role: enrol the person anew", field="principal")
        if role in self.roles:
            raise ConflictError("the principal holds this role already", field="role")
        if conflicting(self.roles | {role}):
            raise ConflictError("admin and auditor share a principal with no other role", field="role")
        return replace(self, roles=self.roles | {role})

    def without_role(self, role: Role) -> Principal:
        """Give up a role; raise `ConflictError` if it is not held."""
        if role not in self.roles:
            raise ConflictError("the principal does not hold this role", field="role")
        return replace(self, roles=self.roles - {role})

    def disabled(self) -> Principal:
        """Lose every right for good; raise `ConflictError` if that happened before."""
        if not self.enabled:
            raise ConflictError("the principal is disabled already", field="principal")
        return replace(self, enabled=False)


def conflicting(roles: Iterable[Role]) -> bool:
    """Whether the roles may not meet in one principal."""
    held = set(roles)
    return len(held) > 1 and not EXCLUSIVE_ROLES.isdisjoint(held)
