"""The log's full tiles as blobs: created once, compared ever after."""

from __future__ import annotations

from kernel.errors import ConflictError, NotFoundError
from privacy.sealing.stores import BlobPath, BlobStore


class BlobTiles:
    """Tiles in a blob store, below `log/`; implements `audit.published.TileStore`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def put(self, path: str, data: bytes) -> None:
        """Store a tile; the same bytes again are accepted, others are a conflict."""
        try:
            self._blobs.put_new(_path(path), data)
        except ConflictError:
            if self.get(path) != data:
                raise ConflictError("another tile exists at that place") from None

    def get(self, path: str) -> bytes | None:
        """Return a tile, or nothing if it was never written."""
        try:
            with self._blobs.open(_path(path)) as blob:
                return blob.read()
        except NotFoundError:
            return None


def _path(path: str) -> BlobPath:
    return BlobPath(f"log/{path}")
