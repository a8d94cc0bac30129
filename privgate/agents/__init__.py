"""Agents: the parties of homomorphic jobs that are no gateway. Extra `site`.

Nouns: home (an agent's directory), vault (what is sealed in it), pin (an identity that a person exchanged), rules (what
an agent's people allow), paper (a document kept), log (what the agent did, chained and signed), channel (how it reaches
the gateway), deed (one entry of the log).

Rules
-----
1. An agent believes pins, never the gateway: keys of the gateway, of the key holder and of sites come from files that
   people exchanged (RULES 33).
2. What is done is in the log, on the disk, before it has an effect that cannot be taken back: before a decryption
   begins, before an upload is sent. The log refuses an entry that contradicts it, so that a second decryption of a
   round over another set, a second key or a second upload cannot happen, killed and restarted or not (RULES 34).
3. Plaintext rows and keys are met in a confined child alone; the agent's own process sees bytes.
4. Why an agent refuses stays with it: it says `declined`.

Formats: docs/formats/he-documents.md, docs/formats/party-home.md.
"""
