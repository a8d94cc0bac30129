"""A site: computes on its own rows, encrypts for the key holder it pinned, and answers each round once."""
