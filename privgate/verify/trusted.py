"""What no step can show: printed last, whatever the outcome."""

from __future__ import annotations

from audit.trust import TrustFile
from privgate.verify.anchor import Anchor

ALWAYS = (
    "the operator, the worker's host and the holder of the wrapping keys: an entry can be untrue, or never be made",
    "the random source of the noise, and that the program that ran is the one whose digest the certificate names",
    "times: they are the gateway's word; the tree gives the order",
    "what people declared: bounds, public size, legal basis, and that two principals are two people",
    "floating-point effects of the noise, and what durations tell: see the `not_covered` of each certificate",
)
NO_WITNESS = (
    "that this log is the only one: no witness is pinned, so another reader may have been shown another history, and "
    "an older genuine export above your pinned checkpoint looks like the newest"
)
NOTHING_SEEN = "everything before this export: your trust file pins no checkpoint yet, so a rewritten past is not seen"
NO_ANCHOR = "who made all this: without a trust file that you pinned yourself, anybody could have"


UNPINNED = (
    "that sites and key holders are who their names say: you pinned none of their identities (`--pin`), and a gateway "
    "could enrol parties of its own making"
)
PARTIES = (
    "what no document shows of jobs on data of sites: that a site computed rightly and on its rows, and that the key "
    "holder decrypted nothing but the sums that it signed for; a course without noise cannot be worked out again"
)


def trusted_sentences(anchor: Anchor, *, parties: bool = False) -> tuple[str, ...]:
    """What stays a matter of trust, most important first.

    Args:
        anchor: What the reader believed in before.
        parties: Whether there are parties in the log.
    """
    unpinned = (UNPINNED,) if parties and not anchor.pins else ()
    about = (*unpinned, PARTIES) if parties else ()
    return (*_about_pins(anchor.trust), *_about_anchor(anchor), *about, *ALWAYS)


def _about_anchor(anchor: Anchor) -> tuple[str, ...]:
    if anchor.trust is None:
        return (NO_ANCHOR,)
    return () if anchor.remark is None else (anchor.remark,)


def _about_pins(trust: TrustFile | None) -> tuple[str, ...]:
    if trust is None:
        return ()
    unseen = () if trust.last_seen.size else (NOTHING_SEEN,)
    return unseen if trust.witness_keys else (*unseen, NO_WITNESS)
