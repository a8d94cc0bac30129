"""What a model that was made from a release keeps of it: the papers that a stranger verifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Certificate, receipt and model card of a verified release, byte for byte."""

    certificate: bytes
    receipt: bytes
    card: bytes

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Papers:
        """The papers among a release's files."""
        return cls(**{name: files[file] for name, file in _NAMES.items()})

    def files(self) -> dict[str, bytes]:
        """The papers under the names that a release has them by."""
        return {file: getattr(self, name) for name, file in _NAMES.items()}


_NAMES: Final = {"certificate": "certificate.json", "receipt": "receipt.tlog-proof", "card": "MODEL_CARD.md"}
