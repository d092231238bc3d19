"""Roles: what each may is everything that the one before may, and more."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """SHARE: look at devices, groups, rollouts and heads, by a link. VIEWER: look at everything but users.

    OPERATOR: act on the fleet. ADMIN: users and everybody's tokens, too.
    """

    SHARE = "share"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role is at least `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)

    def at_most(self, other: Role) -> Role:
        """The lesser of both."""
        return other if self.may(other) else self
