"""The transparency log: what was done, by whom, in an order that nobody can rewrite unseen.

Nouns: entry (payload, salt, leaf), tree (frontier, tile, bundle, proof), checkpoint (a signed note), receipt, archive,
and the trust file.

Rules
-----
1. An entry is sequenced in the transaction of the action it records; integrated later, in a transaction of its own;
   published when a signed checkpoint covers it. These three words are never mixed.
2. The tree holds salted commitments. Payloads and salts are kept per tenant and shown to that tenant alone.
3. Only committed tree states are signed; whatever is written can be written again and is then the same.
4. History is read from an archive, online too. What reads it takes no fact from anywhere else.
5. Formats are published ones (RFC 6962, C2SP) wherever one exists; ours are in `docs/formats/`.
6. A verifier never crashes and never guesses: OK, NOT OK or CANNOT TELL, with a place.

Imports `kernel`, the standard library and `cryptography` only, so that an auditor can run it alone.
"""
