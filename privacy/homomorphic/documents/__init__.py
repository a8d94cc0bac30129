"""What the parties of a homomorphic job tell each other: signed, chained, carried by a gateway that cannot make them.

Nouns: identity (who a party is, pinned out of band), member (a party in one job), order, key, round, result, final,
refusal, parcel (a signed document with bytes beside it), place (where a document of a job lies).

Rules
-----
1. One signer for each kind: the gateway signs the order, the key holder key, rounds, results and final, a site its
   uploads; a refusal is signed by whoever refuses. Who may sign is checked against pins, never against the document.
2. key <- round 1 <- result 1 <- round 2 <- ... <- final: each names the digest of the one before; all name the order.
3. Everything is pure: bytes in, values out. Whether a document may be acted upon is for the agents to say
   (`privgate.agents`).

Format: docs/formats/he-documents.md.
"""
