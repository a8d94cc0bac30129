"""Steps over the parties' documents of jobs on data of sites: who they are, what was ordered, how the rounds went.

Nouns: pin (a party's identity, exchanged out of band), known (a party as the log enrolled it), case (one job's
documents so far), judge (what says whether a document is right).

Rules
-----
1. Which documents there must be, the log says (`privacy.homomorphic.documents.citing`): each is here under its name,
   with the digest that the log gives it, and no other is. Missing ones are found, and so are those too many.
2. Each is signed by the identity of whose it is: as the log enrolled it, and as the reader pinned it, if he did.
3. Each follows from those before it; what the log, the ledger and the release say of them must be told alike.
4. A kind of document is judged by one line of a table (`privgate.verify.parties.rounds.JUDGES`).

Format: docs/formats/bundle.md, "Documents of the parties".
"""
