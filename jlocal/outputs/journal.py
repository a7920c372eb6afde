"""The journal of a run: the vectors computed so far, from which a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import OutputError
from jlocal.files import unwritable
from jlocal.outputs.sqlite import Cause, FileKind, cause_of, open_file
from jlocal.outputs.staging import sweep
from jlocal.vectors import Floats

Tokens = npt.NDArray[np.int32]
Note = Callable[[str], None]

# A batch's table has kept its first name, so that journals of earlier versions are still read.
_TABLE = "CREATE TABLE wave (key BLOB PRIMARY KEY, vectors BLOB NOT NULL, checksum BLOB NOT NULL)"

_JOURNAL = FileKind(
    error=OutputError,
    name="a journal of jlocal",
    use="write",
    outcome="what was finished is kept",
    if_damaged="remove it to start again",
    if_unusable="remove it to start again",
)
# Where SQLite would quote text that is not UTF-8, Python raises UnicodeDecodeError.
_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)


@contextmanager
def open_journal(
    output: Path, inputs: Mapping[str, object], dimensions: int, note: Note
) -> Iterator[Journal]:
    """Open and lock the journal of an output file.

    It is a hidden file beside the output. It is removed when the block ends without an error, or
    when it is empty.

    Args:
        output: the file that the run writes.
        inputs: everything that the vectors depend on besides their tokens.
        dimensions: full length of the model's vectors.
        note: called with a message when a journal is damaged or kept.

    Raises:
        OutputError: another run writes the same output, or the journal cannot be written.

    """
    real = Path(os.path.realpath(output))
    if real.is_dir():
        raise OutputError(f"{output} is a folder; name a file", path=output)
    path = real.with_name(f".{real.name}.jlocal-journal")
    was_interrupted = path.exists()
    with closing(_connect(path, output, note)) as connection:
        if was_interrupted:
            sweep(real.parent)
        journal = Journal(path, connection, inputs, dimensions)
        try:
            yield journal
        except BaseException:
            journal.stop()
            if _is_empty(connection):
                with suppress(OutputError):
                    _remove(connection, path)
            else:
                note(f"What is finished is kept in {path}; the same command goes on from there.")
            raise
        journal.stop()
        _remove(connection, path)


class Journal:
    """Batches of token sequences with their vectors, in an SQLite file.

    The last digits of a vector depend on the other sequences of its batch. So whole batches are
    kept: the same texts in the same order come in the same batches, and so get the same bytes. The
    vectors are those of the model, before they are truncated and quantised. The key is the SHA-256
    of everything that they depend on, so that no other vectors can be found in their place.

    Attributes:
        resumed: whether the journal held any vectors at the start.
        reused: number of texts whose vectors came from the journal.

    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        inputs: Mapping[str, object],
        dimensions: int,
    ) -> None:
        """Use an open database; see `open_journal`."""
        self._path, self._dimensions = path, dimensions
        self._connection: sqlite3.Connection | None = connection
        self._inputs = hashlib.sha256(json.dumps(dict(inputs), sort_keys=True).encode())
        # The computing thread may still be running when another thread cancels the work.
        self._lock = threading.Lock()
        self.resumed = not _is_empty(connection)
        self.reused = 0

    def stop(self) -> None:
        """Stop reading and writing."""
        with self._lock:
            self._connection = None

    def recall(self, sequences: Sequence[Tokens]) -> Floats | None:
        """Find the vectors (n, d) of a batch of n sequences; None if they are not in the journal.

        Raises:
            OutputError: the file cannot be read.

        """
        if not self.resumed:
            return None
        key, size = self._key(sequences), 4 * len(sequences) * self._dimensions
        row = self._execute(
            "SELECT vectors, checksum FROM wave WHERE key = ? AND length(vectors) = ?", key, size
        )
        if not row or not isinstance(row[0], bytes) or row[1] != _checksum(key, row[0]):
            return None
        return np.frombuffer(row[0], "<f4").reshape(len(sequences), self._dimensions)

    def keep(self, sequences: Sequence[Tokens], vectors: Floats) -> None:
        """Write the vectors (n, d) of a batch; the process may then be killed.

        Raises:
            OutputError: the file cannot be written.

        """
        key, data = self._key(sequences), vectors.astype("<f4").tobytes()
        checksum = _checksum(key, data)
        self._execute("INSERT OR REPLACE INTO wave VALUES (?, ?, ?)", key, data, checksum)

    def _key(self, sequences: Sequence[Tokens]) -> bytes:
        key = self._inputs.copy()
        key.update(np.array([len(sequences), *map(len, sequences)], "<i8").tobytes())
        for sequence in sequences:
            key.update(sequence.astype("<i4").tobytes())
        return key.digest()

    def _execute(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with _JOURNAL.translated_errors(self._path), self._lock:
            if self._connection is None:
                return None
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row


def _checksum(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()


def _connect(path: Path, output: Path, note: Note) -> sqlite3.Connection:
    """Open the file and lock it until it is closed, however the process ends."""
    busy = OutputError(
        f"another jlocal is writing {output}; run this again when it has ended, or name another "
        "file",
        path=output,
    )
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise OutputError(f"{path} is not a regular file; remove it", path=path)
        _JOURNAL.check_files(path)
        path.touch()
        inode = path.stat().st_ino
    except OSError as error:
        reason = unwritable(error, "name a file in a folder that can be written")
        raise OutputError(f"cannot write {output}: {reason}", path=output) from error
    connection = open_file(path, timeout=0)
    try:
        _initialize(connection)
        # Its previous owner may have removed it before the lock.
        if not path.exists() or path.stat().st_ino != inode:
            raise busy
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        is_busy = cause_of(error) is Cause.LOCKED
        raise busy if is_busy else _JOURNAL.explained(path, error) from error
    except _DAMAGE:
        note(f"{path} is damaged, and is started again.")
        _remove(connection, path)
        connection.close()
        return _connect(path, output, note)
    except BaseException:
        connection.close()
        raise


def _initialize(connection: sqlite3.Connection) -> None:
    """Lock the file and make its table.

    Raises:
        sqlite3.OperationalError: another process has it, or it cannot be read or written.
        sqlite3.DatabaseError: it is damaged, or something else.

    """
    connection.text_factory = bytes
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if not tables:
        connection.execute(_TABLE)
    elif tables != [(_TABLE.encode(),)]:
        raise sqlite3.DatabaseError("other tables")
    elif connection.execute("PRAGMA integrity_check(1)").fetchone() != (b"ok",):
        raise sqlite3.DatabaseError("damaged")
    connection.execute("COMMIT")
    # A killed process leaves only whole transactions; a power cut may lose the last ones.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_empty(connection: sqlite3.Connection) -> bool:
    with suppress(*_DAMAGE):
        return connection.execute("SELECT 1 FROM wave LIMIT 1").fetchone() is None
    return False


def _remove(connection: sqlite3.Connection, path: Path) -> None:
    """Remove the file while it is still locked."""
    with suppress(*_DAMAGE):
        connection.execute("PRAGMA synchronous = OFF")
        # In WAL mode, closing would access the removed files again.
        connection.execute("PRAGMA journal_mode = DELETE")
    if os.name == "nt":  # Windows cannot remove an open file
        connection.close()
    for name in (f"{path.name}-wal", f"{path.name}-journal", path.name):
        try:
            path.with_name(name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot remove {path}: {error.strerror or error}", path=path
            ) from error
