"""Privgate for people: SDK, command line, agents and the offline verifier.

    import privgate
    gateway = privgate.connect(profile="trainer")
    dataset = gateway.datasets["dst_..."]
    quote = gateway.quote(dataset, purpose="research/oncology", epsilon=3, label="diagnosis")
    job = gateway.train(dataset, purpose="research/oncology", epsilon=3, label="diagnosis")

Rules
-----
1. `import privgate` stays light: no torch, no server, no database. Heavy parts load where they are used.
2. Nothing here is trusted by the gateway; what the gateway sends is verified here before it is believed.
3. This package may import every other one but `gateway`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privgate.sdk import Gateway, connect

__version__ = "0.1.0"
__all__ = ["Gateway", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    """Load the SDK when it is first asked for, so that the command line starts fast."""
    if name in ("Gateway", "connect"):
        from privgate import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module 'privgate' has no attribute {name!r}")
