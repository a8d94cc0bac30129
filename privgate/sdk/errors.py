"""What can end badly although the gateway answered: jobs, uploads, trust that was never pinned, missing extras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import ConflictError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from privgate.sdk.jobs import Job
    from privgate.sdk.views import Version


class JobEndedError(Exception):
    """A job ended without a result; `job` says how."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job ended as {job.state}.")
        self.job = job


class UploadRefusedError(Exception):
    """An upload was refused as a whole; `version.problems` says where, to its owner alone."""

    def __init__(self, version: Version) -> None:
        super().__init__("The upload was refused: " + (version.first_problem or "its problems are not kept any more."))
        self.version = version


class NotPinnedError(NotFoundError):
    """There is no pinned trust file, so nothing that the gateway sends can be believed."""

    def __init__(self) -> None:
        super().__init__("no trust file is pinned: compare the operator's keys and run `privgate audit trust --pin`")


class AnswerHeldError(ConflictError):
    """An encrypted answer is there, and its door-keeper has not let it go yet; `release` is its id."""

    def __init__(self, release: str) -> None:
        super().__init__(
            f"the answer, {release}, is held: its door-keeper lets it go with `privgate releases check {release} "
            "release`; then the same `privgate infer` command, or the same call with `keep`, goes on and reads it"
        )
        self.release = release


class ExtraMissingError(UnavailableError):
    """Something heavier than the base install is needed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more than the base install: run `pip install 'privgate[{extra}]'`")
