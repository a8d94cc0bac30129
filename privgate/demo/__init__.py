"""The whole cycle on real data, as three people would live it; `make demo` runs it.

Rules
-----
1. Nothing is simulated: a gateway and a worker run as processes of their own, and everything goes over TLS through
   the SDK.
2. What it shows is what happened: every figure on the screen and in `summary.json` was read from an answer or computed
   from a file that the gateway let go.
3. It knows the gateway by its command line and its API only.
"""
