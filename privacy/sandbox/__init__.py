"""The parent's side of a confined child, and the confinement itself. Standard library and ctypes only.

Nouns: limits, level, channel, frame, child, ending.

Rules
-----
1. Whatever parses or computes on private or untrusted bytes runs in a child that was confined before the first one.
2. The child reaches ciphertext files that were named to it, one output folder at most, and two pipes. Nothing else.
3. The parent outlives whatever a child does, and learns from it frames of bounded size and one of a few endings.
"""
