"""Making the gradient of an epoch of blind training: read and judged, computed in a confined child, signed."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.services.blind.epochs import Epochs
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.papers import Papers
from gateway.services.collections.turns import Made
from kernel.canonical import Digest
from kernel.signing import Signer
from privacy.events.blind import GradientMade
from privacy.homomorphic.blind.documents import BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.judging import read_data, read_weights
from privacy.homomorphic.blind.shape import BlindShape
from privacy.homomorphic.confined import Confined
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientStep:
    """An epoch's gradient, with everything that it is made from.

    Attributes:
        order, shape: Of the job.
        weights: The site's signed document.
        keys, data, body: Evaluation keys, encrypted rows, encrypted weights.
        signer: The gateway's certificate key.
    """

    order: BlindOrder
    shape: BlindShape
    weights: BlindWeights
    keys: bytes
    data: bytes
    body: bytes
    signer: Signer

    @classmethod
    def of(cls, papers: Papers, place: Place) -> GradientStep:
        """Read and judge what the site sent."""
        epochs, number = Epochs(papers), place.number
        _, keys, data = read_data(epochs.order, papers.content(epochs.required(DocumentKind.DATA)), epochs.site)
        sent = papers.content(epochs.required(DocumentKind.WEIGHTS, number))
        weights, body = read_weights(epochs.order, number, epochs.before(number), sent, epochs.site)
        return cls(
            order=epochs.order,
            shape=epochs.plan.shape,
            weights=weights,
            keys=keys,
            data=data,
            body=body,
            signer=papers.on.certificate_signer,
        )

    def made(self, confined: Confined) -> Made:
        """Compute and sign it."""
        gradient = confined.blind_gradient(self.shape, self.keys, self.data, self.body)
        document = BlindGradient(
            job=self.order.job,
            order=self.order.digest,
            number=self.weights.number,
            weights=self.weights.digest,
            gradient=Digest.of(gradient),
        )
        event = GradientMade(job=self.order.job, number=self.weights.number, gradient=document.digest)
        return Made(Parcel(document.signed(self.signer), gradient).to_bytes(), Accepted(document.digest, event))
