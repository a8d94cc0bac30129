"""Verbs of an administrator: people, roles, tokens, purposes, the tenant's policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from kernel.errors import InvalidError
from privgate.sdk.pages import Collection
from privgate.sdk.session import Session, identifier
from privgate.sdk.views import Policy, Principal, Purpose, Token


class AdministratorVerbs(Session):
    """What an administrator does."""

    @property
    def principals(self) -> Collection[Principal]:
        """Everybody who was let in."""
        return Collection(self.connection, "/v1/principals", Principal.read, Principal)

    @property
    def purposes(self) -> Collection[Purpose]:
        """What data here may be used for."""
        return Collection(self.connection, "/v1/purposes", Purpose.read, Purpose)

    def policy(self) -> Policy:
        """The tenant's policy."""
        return Policy.read(self.connection.get("/v1/policy"))

    def set_policy(self, policy: Mapping[str, Any], *, epoch: int | None = None) -> Policy:
        """Replace the tenant's policy as a whole: `approvals`, `ceilings`, `checked_by`.

        Args:
            policy: The new policy.
            epoch: Of the policy that was read before; it is not replaced if somebody changed it since. The present one
                if absent.
        """
        self.connection.put("/v1/policy", policy, version=self.policy().epoch if epoch is None else epoch)
        return self.policy()

    def define_purpose(self, purpose: str, within: Sequence[str] = ()) -> Purpose:
        """Define a purpose as part of others."""
        return Purpose.read(self.connection.post("/v1/purposes", {"purpose": purpose, "within": list(within)}))

    def enrol(self, name: str, *roles: str, token_days: int = 90) -> Token:
        """Let somebody in and give roles; the token is shown this once.

        Raises:
            InvalidError: A role that there is not; nobody was let in.
        """
        _require_roles(roles)
        token = Token.read(self.connection.post("/v1/principals", {"name": name, "token_days": token_days}))
        for role in roles:
            self.assign_role(token.principal, role)
        return token

    def assign_role(self, principal: Principal | str, role: str) -> None:
        """Give a role."""
        self.connection.post(f"/v1/principals/{identifier(principal, 'principal')}/roles", {"role": role})

    def remove_role(self, principal: Principal | str, role: str) -> None:
        """Take a role away."""
        self.connection.delete(f"/v1/principals/{identifier(principal, 'principal')}/roles/{quote(role, safe='')}")

    def disable(self, principal: Principal | str) -> None:
        """End somebody's access for good."""
        self.connection.delete(f"/v1/principals/{identifier(principal, 'principal')}")

    def issue_token(self, principal: Principal | str, *, token_days: int = 90) -> Token:
        """Issue a further token; it is shown this once."""
        path = f"/v1/principals/{identifier(principal, 'principal')}/credentials"
        return Token.read(self.connection.post(path, {"token_days": token_days}))

    def revoke_token(self, credential: str) -> None:
        """Make a token worthless."""
        self.connection.delete(f"/v1/credentials/{identifier(credential, 'credential')}")


def _require_roles(roles: Sequence[str]) -> None:
    """Look before anybody is let in: without the role that was meant, his token would do nothing."""
    from policies.vocabulary import Role

    known = [role.value for role in Role]
    if not set(roles) <= set(known):
        raise InvalidError(f"`role` must be one of {', '.join(known)}", field="role")
