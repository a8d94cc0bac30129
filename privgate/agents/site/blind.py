"""A site in blind training: it has the rows, the key and the model, and lets the gateway compute on ciphertexts.

Rules
-----
1. Everything that goes out is kept first, entered in the log, and then sent; an agent that was killed sends the same
   again. A gradient is entered before it is decrypted: none is ever decrypted in place of another.
2. Keys are made once for a job and destroyed when it ends, however it ends. Secret key, memory and model lie sealed
   in the vault.
3. What was decrypted stays: the next weights are encrypted freshly, so that their last digits tell nothing of the key,
   and the final holds a salted digest. Whether a gradient was wrong shows once, at the end (`blind.assignment`).
4. The model is this site's own. It leaves the home when its people ask for it (`privgate site model`).
"""

from __future__ import annotations

import os

from kernel.canonical import Digest
from kernel.errors import NotFoundError, PrivgateError
from kernel.ids import JobId
from privacy.homomorphic.blind.assignment import Memory
from privacy.homomorphic.blind.documents import BlindData, BlindFinal, BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.judging import read_gradient, read_weights
from privacy.homomorphic.blind.model import SALT_BYTES, commitment, model_bytes
from privacy.homomorphic.blind.spec import BlindPlan
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privgate.agents.channel import Channel
from privgate.agents.deeds import Deed, JobHistory
from privgate.agents.home import Home
from privgate.agents.papers import Papers
from privgate.agents.posting import Posting
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.site.attesting import commitment as rows_of
from privgate.agents.site.blind_steps import BlindSteps
from privgate.agents.site.datasets import SiteDataset, SiteDatasets

_SECRET, _DATA, _MEMORY, _MODEL, _FINAL = "secret", "data", "memory", "model", "final"


class BlindTraining:
    """One site's part in blind training.

    Args:
        home, channel: As of the site's agent.
        posting: How documents are left at the gateway.
        datasets: What the site has.
        steps: Where rows, key and weights are met.
    """

    def __init__(
        self, home: Home, channel: Channel, posting: Posting, datasets: SiteDatasets, steps: BlindSteps
    ) -> None:
        self._home, self._channel, self._posting = home, channel, posting
        self._datasets, self._steps = datasets, steps

    def advance(self, order: BlindOrder, papers: Papers) -> None:
        """Go as far as the gateway's gradients allow; raise `RefusalError` if the job must not go on."""
        dataset, plan = self._dataset(order), BlindPlan.from_json(order.plan)
        if self._history(order).key is None:
            self._begin(order, papers, dataset, plan)
        known = self._history(order)
        if len(known.done) < plan.epochs:
            self._posting.post(Place(order.job, DocumentKind.DATA), papers.get(_DATA) or b"")
        for number in range(len(known.done) + 1, plan.epochs + 1):
            weights = self._opened(order, papers, number)
            if not self._stepped(order, papers, dataset, plan, weights):
                return
        self._finish(order, papers, plan)

    def close(self, order: BlindOrder, papers: Papers) -> None:
        """If every epoch was made, say so again: killed between two documents, the last one may be missing."""
        if len(self._history(order).done) == BlindPlan.from_json(order.plan).epochs:
            self._finish(order, papers, BlindPlan.from_json(order.plan))

    @staticmethod
    def ended(papers: Papers) -> None:
        """Destroy the key and what it opens; the model, where there is one, stays."""
        for name in (_SECRET, _MEMORY, _DATA):
            papers.drop(name)

    def _history(self, order: BlindOrder) -> JobHistory:
        return self._home.log.history.of(order.job)

    def _dataset(self, order: BlindOrder) -> SiteDataset:
        dataset = self._datasets.for_blind(order)
        if rows_of(dataset, self._home.commitment_key) != self._datasets.noted_rows(order.dataset):
            raise RefusalError(Why.DATA, "the file is not the one that was attested")
        return dataset

    def _begin(self, order: BlindOrder, papers: Papers, dataset: SiteDataset, plan: BlindPlan) -> None:
        """Make everything that goes out first; written anew until the log says that the key was made."""
        begun = self._steps.begin(dataset, plan)
        papers.put(_SECRET, self._home.vault.seal(begun.secret.reveal(), kind=_SECRET, job=order.job))
        begun.secret.wipe()
        said = BlindData(
            job=order.job,
            order=order.digest,
            profile=order.profile_digest,
            keys=Digest.of(begun.keys),
            data=Digest.of(begun.data),
        )
        papers.put(_DATA, Parcel(said.signed(self._home.signer), begun.keys + begun.data).to_bytes())
        self._remember(order, papers, begun.memory)
        self._keep_weights(order, papers, 1, said.digest, begun.weights)
        self._home.log.append(Deed.KEY_MADE, order.job, what=said.keys)

    def _keep_weights(self, order: BlindOrder, papers: Papers, number: int, previous: Digest, body: bytes) -> None:
        said = BlindWeights(
            job=order.job, order=order.digest, number=number, previous=previous, weights=Digest.of(body)
        )
        papers.put(f"weights-{number}", Parcel(said.signed(self._home.signer), body).to_bytes())

    def _opened(self, order: BlindOrder, papers: Papers, number: int) -> BlindWeights:
        """Enter and send the weights of an epoch."""
        data = papers.get(f"weights-{number}")
        if data is None:
            raise RefusalError(Why.CHAIN, "a paper is gone")
        said = BlindWeights.opened(Parcel.from_bytes(data).document, [self._home.who.identity])
        said, _ = read_weights(order, number, said.previous, data, self._home.who.identity)
        if number not in self._history(order).opened:
            self._home.log.append(Deed.ROUND_OPENED, order.job, number=number, what=said.digest)
        self._posting.post(Place(order.job, DocumentKind.WEIGHTS, number), data)
        return said

    def _stepped(
        self, order: BlindOrder, papers: Papers, dataset: SiteDataset, plan: BlindPlan, weights: BlindWeights
    ) -> bool:
        """Take the gradient of an epoch, if it is there."""
        number, name = weights.number, f"gradient-{weights.number}"
        data = papers.get(name) or self._channel.fetch(Place(order.job, DocumentKind.GRADIENT, number))
        if data is None:
            return False
        try:
            said, body = read_gradient(order, weights, data, self._home.gateway.certificate_keys)
        except PrivgateError:
            raise RefusalError(Why.CHAIN, f"gradient {number}") from None
        papers.keep(name, data)
        self._home.log.append(Deed.DECRYPTING, order.job, number=number, what=said.digest)
        sealed, memory = papers.get(_SECRET), papers.get(_MEMORY)
        if sealed is None or memory is None:
            raise RefusalError(Why.KEY, "it was destroyed")
        before = self._home.vault.open(memory, kind=_MEMORY, job=order.job).reveal()
        if Memory.from_bytes(before).epochs == number - 1:
            with self._home.vault.open(sealed, kind=_SECRET, job=order.job) as secret:
                after = self._steps.go_on(dataset, plan, secret, before, body)
            if after.weights is not None:
                self._keep_weights(order, papers, number + 1, said.digest, after.weights)
            self._remember(order, papers, after.memory)
        self._home.log.append(Deed.DECRYPTED, order.job, number=number, learned=plan.design.size)
        papers.drop(f"weights-{number}")
        if number < plan.epochs:
            papers.drop(name)
        return True

    def _remember(self, order: BlindOrder, papers: Papers, memory: bytes) -> None:
        papers.put(_MEMORY, self._home.vault.seal(memory, kind=_MEMORY, job=order.job))

    def _finish(self, order: BlindOrder, papers: Papers, plan: BlindPlan) -> None:
        kept = papers.get(_FINAL)
        if kept is None:
            kept = self._made_final(order, papers, plan)
        final = BlindFinal.opened(kept, [self._home.who.identity])
        self._posting.post(Place(order.job, DocumentKind.FINAL), Parcel(kept, b"").to_bytes())
        papers.drop(f"gradient-{plan.epochs}")
        self.ended(papers)
        self._home.log.append(Deed.FINISHED, order.job, what=final.digest)

    def _made_final(self, order: BlindOrder, papers: Papers, plan: BlindPlan) -> bytes:
        memory, last = papers.get(_MEMORY), papers.get(f"gradient-{plan.epochs}")
        if memory is None or last is None:
            raise RefusalError(Why.CHAIN, "a paper is gone")
        stood = Memory.from_bytes(self._home.vault.open(memory, kind=_MEMORY, job=order.job).reveal())
        model = model_bytes(order.job, plan, stood.weights, os.urandom(SALT_BYTES))
        # Written anew until the final is kept: nobody has seen its commitment.
        papers.put(_MODEL, self._home.vault.seal(model, kind=_MODEL, job=order.job))
        final = BlindFinal(
            job=order.job,
            order=order.digest,
            previous=BlindGradient.opened(Parcel.from_bytes(last).document, self._home.gateway.certificate_keys).digest,
            epochs=plan.epochs,
            model=commitment(model),
        )
        papers.keep(_FINAL, final.signed(self._home.signer))
        return papers.get(_FINAL) or b""


def model_of(home: Home, job: JobId) -> bytes:
    """The model of a blind training that has ended well; raise `NotFoundError` if there is none."""
    sealed = home.papers_of(job).get(_MODEL)
    if sealed is None or home.papers_of(job).get(_FINAL) is None:
        raise NotFoundError("no model of such a job is here", field="job")
    return home.vault.open(sealed, kind=_MODEL, job=job).reveal()
