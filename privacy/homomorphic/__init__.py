"""Jobs on data that the gateway never sees: sums of many sites under homomorphic encryption.

Nouns: site (computes on its own rows and encrypts), key holder (adds the signed uploads and decrypts once a round),
number (a whole number that each site gives in a round), span (what one site's number may be), field (what a slot of a
ciphertext has room for).
"""
