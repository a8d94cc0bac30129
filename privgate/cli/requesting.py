"""Requesting a job on the screen: what noise will do to it, whether it fits, and what the trainer's own grant allows.

Rules
-----
1. A job is requested first and judged then: a word about it never keeps it back.
2. Caps are read from grants that the gateway lists to their trainer. Without a purpose's tree they are the largest that
   any grant for this dataset and kind has: never less than what holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from privgate.cli.following import WAITS, show_followed
from privgate.cli.screen import note, show

if TYPE_CHECKING:
    from privgate.sdk.gateway import Gateway
    from privgate.sdk.jobs import Job
    from privgate.sdk.jobs import Quote as QuoteView


def request_job(
    connected: Gateway, request: Mapping[str, Any], *, key: str | None, follow: bool, machine: bool
) -> None:
    """Request a job, say what is to be expected of it, and show or follow it."""
    with naming_the_cap(connected, request):
        job = connected.submit(request, key=key)
    note(f"Requested {job.job}.")
    _say_what_to_expect(connected, request, job)
    if follow:
        show_followed(job, machine=machine)
    else:
        show(job, machine=machine)


def show_quote(connected: Gateway, request: Mapping[str, Any], *, machine: bool) -> QuoteView:
    """Ask for a quote and show it beside what the trainer's grant allows."""
    with naming_the_cap(connected, request):
        quoted = connected.quote_request(request)
    quoted = quoted.within(cap_of(connected, request))
    show(quoted, machine=machine)
    return quoted


@contextmanager
def naming_the_cap(connected: Gateway, request: Mapping[str, Any]) -> Iterator[None]:
    """To a refusal for more epsilon than the grant allows add how much that is: it is the trainer's own grant."""
    from privgate.client.errors import DeniedError

    try:
        yield
    except DeniedError as denied:
        if denied.reason == "epsilon-above-grant" and (cap := cap_of(connected, request)) is not None:
            denied.data["largest_epsilon"] = cap
        raise


def cap_of(connected: Gateway, request: Mapping[str, Any]) -> str | None:
    """The largest epsilon of one job that one's own grants for this dataset and kind allow; nothing without a cap."""
    from privgate.client.errors import GatewayError

    try:
        me, kind = connected.whoami().principal, request.get("kind", "training")
        mine = [
            grant
            for grant in connected.grants
            if (grant.principal, grant.dataset, grant.state) == (me, request.get("dataset"), "active")
            and kind in grant.job_kinds
            and request.get("grant") in (None, grant.grant)
        ]
    except GatewayError:  # A quote is worth having without it.
        return None
    caps = [grant.obligations.get("max_epsilon") for grant in mine]
    return None if not caps or None in caps else str(max(caps, key=lambda cap: Decimal(str(cap))))


def _say_what_to_expect(connected: Gateway, request: Mapping[str, Any], job: Job) -> None:
    from privgate.client.errors import GatewayError
    from privgate.sdk.collections import of_a_model, of_sites

    if job.ended or of_sites(request) or of_a_model(request):
        return
    try:
        quoted = connected.quote_request(request)
    except GatewayError:  # It is requested, whatever can be said of it.
        return
    _say_word(quoted)
    if quoted.kind == "statistics" and quoted.feasibility != "likely":
        from privgate.statistics import words

        home = request.get("rows") == "home"
        say_how_many(words(quoted, connected.datasets[job.dataset].facts(home_alone=home)))
    if job.state == WAITS:
        _say_whether_it_fits(quoted)


def _say_word(quoted: QuoteView) -> None:
    if quoted.feasibility in ("doubtful", "hopeless"):
        note(f"By declared sizes it is {quoted.feasibility}: {quoted.suffering}. `jobs cancel` takes it back.")


def say_how_many(words: Sequence[tuple[str, str]]) -> None:
    """Of several answers how many will drown: the quote has one word for all, which is that of the worst."""
    drowned = [title for title, word in words if word == "hopeless"]
    if drowned and len(words) > 1:
        note(
            f"Of {len(words)} answers {len(drowned)} will drown in noise, as things are declared: {'; '.join(drowned)}."
        )


def _say_whether_it_fits(quoted: QuoteView) -> None:
    """The budget is asked when the owner has said yes; a job that is too large would wait for nothing."""
    if not quoted.fits:
        largest = (
            f"the largest of its shape has epsilon {quoted.largest_epsilon}" if quoted.largest_epsilon else "none does"
        )
        note(f"It does not fit the budget as it stands, and would be refused once it is approved; {largest}.")
