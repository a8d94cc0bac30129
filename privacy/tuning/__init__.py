"""Private selection among candidates: tries in the child, of which the best alone leaves.

Nouns: try (one candidate, trained and scored), candidate (a recipe), drawn number (how many tries count).

Rules
-----
1. The number of tries is drawn here and never leaves, in no form: not as a frame, a duration, a size or a price.
2. As many tries as there may be are run, always; those beyond the drawn number are thrown away unseen.
3. A try's score has its noise before it is compared with any other. What is compared is noisy, what leaves is the best.
"""
