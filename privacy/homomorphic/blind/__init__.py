"""Blind training (experimental): an owner has a logistic model trained on ciphertexts of his own rows.

How it is called
----------------
- owner:    `recipe = BlindRecipe(...)`, `dry_run(recipe, rows, labels)`; `owner = BlindOwner(recipe, rows, labels)`
            (`tenseal_backend.blind`): `owner.evaluation_keys`, `owner.data`; each epoch `owner.weights_body()` goes out
            and `owner.refresh(gradient)` comes back.
- gateway:  `worker = BlindWorker(recipe, keys, data)`; `worker.gradient(weights) -> body`.

As a job (`he.blind-logistic`): `spec` is the request and the plan, `documents` what gateway and site sign, `judging`
whether a document is the one that is due, `site_runner` the child at the site, `model` what its owner finds.

Rules
-----
1. One owner, one key: rows, labels, weights and gradients leave his machine as ciphertexts alone. He decrypts his own
   gradient after each epoch, steps, and encrypts the weights anew (refresh): so no depth is ever used up.
2. The chance is a polynomial of degree 3 that holds for |z| < 8. A dry run in the clear measures how large z becomes;
   where it leaves the range nothing is started.
3. Nothing of this is private differentially. If the model leaves the owner, its rows may be learned from it.
"""
