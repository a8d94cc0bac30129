"""The card of an exact result: its certificate in words, for people who will not read JSON. It adds no claim."""

from __future__ import annotations

from privacy.release.course_card import course_card
from privacy.release.disclosure import DisclosureCertificate

TEMPLATE = "disclosure_card.md.tmpl"


def disclosure_card(certificate: DisclosureCertificate) -> str:
    """Write the card of a certificate as Markdown; the signature is the reader's to check."""
    rows = (
        f"| {site.site.name} | `{site.dataset}` | `{site.version}` | `{site.population}` | {site.uncovered_since} |"
        for site in certificate.predicate.sites
    )
    return course_card(TEMPLATE, certificate, sites="\n".join(rows))
