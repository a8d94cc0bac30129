"""Sealing: keys, encryption at rest, and where ciphertext lies.

Nouns: root, KEK, DEK, subkey, key commitment, context, sealed table, part, manifest, blob.

Rules
-----
1. Every ciphertext is bound to what it belongs to (tenant, dataset, version, part or purpose) and opens nowhere else.
2. A key is a `SecretBytes`: never printed, never pickled, revealed at the last moment.
3. What is stored is durable before it is named, and no stored object is ever overwritten.
4. Whatever was altered, cut, moved or replayed ends as an error that names no content.
"""
