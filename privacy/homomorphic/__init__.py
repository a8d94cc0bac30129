"""Jobs on data that the gateway never sees: sums of many sites under homomorphic encryption.

Nouns: profile (named parameters), layout (where an upload's values lie), site (computes on its own rows and encrypts),
key holder (adds the signed uploads and decrypts once a round), upload (one site's signed ciphertexts of one round).

How it is called
----------------
- everybody:   `profile_of(name)`, `profile.digest`; `Layout(profile=, values=, bound=, summands=, tail=)` or
               `Layout.plain(profile, values, summands, bits)`: says `ciphertexts`, `upload_bytes`, `digest`, and
               refuses what could overflow. `Expected(...)` says what an upload is for.
- key holder:  `Confined().make_keys(profile) -> (public key, secret key)`; `open_upload(expected, parcel, pinned site
               key, own sealing key) -> (Upload, ciphertexts)`; `Confined().decrypt(layout, secret key, [ciphertexts,
               ...]) -> [sums]`: adds at least three and decrypts the sum, in one confined child.
- site:        `Confined().encrypt(layout, key, [whole numbers]) -> ciphertexts` (`key` is the public key, under a
               `seeded` profile the secret key); `make_upload(expected, ciphertexts, signer, holder) -> parcel`.
- worker:      where the gateway adds, `Confined().add(layout, [ciphertexts, ...], noise) -> sum`, flooded, and
               `made_sum(expected, uploads, sum, signer, noised=)`; the key holder then `read_header`, `open_sum`, and
               `Confined().decrypt_sum`. `flooding.require_hidden` says whether a profile has room for it.
- gateway:     `read_upload(expected, parcel, site key) -> Upload` judges without opening; `holds_secret_key(body)`;
               `require_public_key(profile, body)`. None of these imports numpy or SEAL, the API process may call them.
- parties:     `new_sealing_key(entropy)`, `seal_to(sealing key, context, data)`, `open_sealed(private, context,
               sealed)`.
- for oneself: `tenseal_backend.approximate` (CKKS: own keys, vectors, evaluation keys, results), `inference` and
               `Confined().infer`.
- as jobs:     `requests` (sums of several sites), `inferences` (a client asks a released model), `blind` (an owner has
               a model trained on ciphertexts of own rows); what they sign is in `documents` and with each of them.
- numbers:     `Grid` (numpy) clips and rounds real numbers to whole ones and back; `packing` and `tenseal_backend` are
               the child's.

Rules
-----
1. Parameters come from `registry` alone. SEAL runs in confined children alone (`confined`, `runner`).
2. What is handed to SEAL passed `validator`; what is decrypted is a sum of at least three uploads under BFV. Where the
   gateway adds, that it is such a sum is the gateway's word.
3. `adding`, `documents`, `envelope`, `flooding`, `layout`, `noise`, `observing`, `profiles`, `registry`, `sealed`,
   `validator` and `wire` are pure.
"""
