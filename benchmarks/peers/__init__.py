"""Who `make bench-dp` compares: ordinary training, and other libraries of private training, each in its own idiom.

Rules
-----
1. A peer is written as its users write it, with its own modules and its own data path, and as fast as that goes.
2. All train the same function from the same start: the networks' parameters are listed in our graphs' order.
3. What a peer needs is imported when it is built, so that its memory is its own.
"""
