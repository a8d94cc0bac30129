"""`make demo-he`: four hospitals fit one model together, and no row leaves them. Extras `server`, `site`, `demo`.

Nouns: cast (who signs in), agent (a hospital's or the key holder's process), study (what was declared).

Rules
-----
1. Gateway, worker, key holder and hospitals are processes of their own, and reach each other over TLS alone.
2. Whatever the people do, they do with the commands and the client that anybody has.
3. The pooled fit, which nobody could make, is made here once, after everything, to measure the distance to it.
"""
