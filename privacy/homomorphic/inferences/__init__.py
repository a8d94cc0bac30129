"""`he.infer` as a kind of job: what is asked for, and the question of a client who alone reads its answer. Pure.

How it goes
-----------
`spec`: the request for an evaluation of a released model; its final form follows from the model's public face.
`question`: what the client signs and sends beside his ciphertexts. `judging`: reading it from a stream, piece by piece.
`privacy.homomorphic.inference` has shapes and layers, `privacy.homomorphic.confined` the children that compute.

Form: docs/formats/he-inference.md.
"""
