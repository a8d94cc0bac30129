"""The SDK: one `Gateway` with the verbs of owners, trainers, auditors and administrators.

    gateway = privgate.connect(profile="trainer")
    for dataset in gateway.datasets: ...
    job = gateway.train(dataset, purpose="research/oncology", epsilon=3, label="diagnosis")
    job = job.wait(on_progress=print)
    release = gateway.releases[job.release].download("release/")

Rules
-----
1. What the gateway answers becomes frozen values; a member that this version does not know is passed over.
2. Nothing that leaves is believed before it was verified with the pinned trust file.
3. Amounts go out and come back as exact decimal text; a float is taken as the decimal that it prints as.
"""

from __future__ import annotations

from privgate.sdk.errors import JobEndedError, NotPinnedError, UploadRefusedError
from privgate.sdk.gateway import Gateway, connect

__all__ = ["Gateway", "JobEndedError", "NotPinnedError", "UploadRefusedError", "connect"]
