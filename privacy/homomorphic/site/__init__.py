"""At a site: its own file, row by row, to encrypted sums, in one confined child.

Rules
-----
1. `assignment` is light: an agent imports it. The rest is child only, because it reads rows.
2. Plaintext sums never leave the child; what leaves is ciphertext of a length that the layout fixes, or one word.
"""
