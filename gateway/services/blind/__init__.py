"""Use cases of blind training: an owner has a model trained on ciphertexts of own rows, and the gateway computes.

Nouns: epoch (weights of the site, then the gateway's gradient at them), last word (the site's final document).

Rules
-----
1. Nothing is priced and no population is marked: what the gateway gets it cannot read, and the model stays with the
   owner. What is released is a certificate with the site's last word.
2. The owner asks, and nobody else: policy says so (`policies.vocabulary.OWN_WORK`).
3. Documents are carried as those of every job on data of sites (`gateway.services.collections`); which they are and who
   may write them is here.
"""
