"""What an agent is for. By itself, so that events name it where there is no cryptography."""

from __future__ import annotations

from enum import StrEnum


class PartyKind(StrEnum):
    """What an agent is for."""

    SITE = "site"
    KEYHOLDER = "keyholder"
