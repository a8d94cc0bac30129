"""The second listener: what the agents of sites and key holders ask for, over connections that prove who they are.

Nouns: peer (the certificate at the other end of a connection), place (where a document of a job lies).
"""
