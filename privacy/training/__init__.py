"""Private training in the confined child process: rows to features, sampling, clipping, noise, the run.

Nouns: engine (clipped sums of per-unit gradients), run (the loop over steps), savepoint (state between chunks of
steps).

Rules
-----
1. Child only: numpy, pyarrow, torch and Opacus are imported here and nowhere in the API process.
2. A run that has opened the envelope has one outcome whatever the rows are: it finishes. A row that faults
   contributes zero.
3. Every random number is drawn from the operating system. No request can seed, repeat or observe it.
4. No sample, batch size, row count or text leaves the process: noisy weights and the number of steps do.
"""
