"""SHA-256 of source files, computed in the background."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from jlocal.errors import CheckpointError
from jlocal.files import sha256_of, sha256_of_set
from jlocal.waiting import result_of


class Digests:
    """Digests of files; each file is read once, in the background. A context manager."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._digests: dict[Path, Future[str]] = {}

    def __enter__(self) -> Digests:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, files: Iterable[Path]) -> None:
        """Begin to read and hash files."""
        for file in files:
            if file not in self._digests:
                self._digests[file] = self._pool.submit(sha256_of, file)

    def of(self, folder: Path, files: Iterable[Path]) -> str:
        """Return the digest of a set of files, as `jlocal.files.sha256_of_set` defines it.

        Raises:
            CheckpointError: a file cannot be read.

        """
        digests = {}
        for file in sorted(files):
            self.start([file])
            try:
                digests[file] = result_of(self._digests[file])
            except OSError as error:
                reason = error.strerror or error
                raise CheckpointError(f"cannot read {file}: {reason}", path=file) from error
        return sha256_of_set(folder, digests)
