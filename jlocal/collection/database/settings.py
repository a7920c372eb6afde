"""The settings of a collection: its config, its models' digests and its folders."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.base import Database
from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.values import config_of, is_sha256, object_of, path_of, stored_path
from jlocal.filenames import native, portable
from jlocal.files import sha256_of

_MOST_SETTINGS = 1024
_LONGEST_SETTING = 1 << 20
_MOST_LEFT_OUT = 1000

# Why a file was left out: it has too many tokens, or could not be read or embedded.
LeftOut = Literal["large", "failed"]


class Settings(Database):
    """Reads and writes the settings of an open collection."""

    # How vectors are made

    def config(self) -> CollectionConfig | None:
        """Read the config; None if nothing was indexed yet."""
        return self.once("config", self._read_config)

    def _read_config(self) -> CollectionConfig | None:
        rows = self._rows(
            "SELECT key, CASE WHEN length(value) <= ? THEN value END FROM setting LIMIT ?",
            _LONGEST_SETTING,
            _MOST_SETTINGS,
        )
        with translated_errors(self.path):
            if rows or self.has_documents() or self.has_passages():
                return config_of(dict(rows))
        return None

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors.

        Raises:
            CollectionError: the file has no config.

        """
        config = self.config()
        return config.dimensions if config else 0

    def set_config(self, config: CollectionConfig) -> None:
        """Write the config."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO setting VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in config.to_settings().items()],
            )

    def sha256_of_model(self, path: Path) -> str:
        """Return the SHA-256 of a model's file, computed once for each size and time."""
        status = path.stat()
        key = (stored_path(str(path.resolve())), status.st_size, status.st_mtime_ns)
        known = self._value(
            "SELECT sha256 FROM model_file WHERE (path, size, mtime_ns) = (?, ?, ?)", *key
        )
        return known if is_sha256(known) else self._remember(key, sha256_of(path))

    def _remember(self, key: tuple[str | bytes, int, int], sha256: str) -> str:
        # This is only a cache: a collection that cannot be written can still be searched.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(
                "INSERT OR REPLACE INTO model_file VALUES (?, ?, ?, ?)", (*key, sha256)
            )
        return sha256

    def has_documents(self) -> bool:
        """Tell whether there are documents."""
        return bool(self._rows("SELECT 1 FROM document LIMIT 1"))

    def has_passages(self) -> bool:
        """Tell whether there are passages, in documents or not."""
        return bool(self._rows("SELECT 1 FROM passage LIMIT 1"))

    # Folders

    def folders(self) -> dict[str, dict[str, Any]]:
        """Return the remembered folders and files by absolute path, with their options."""
        rows = self._rows(
            "SELECT path, CASE WHEN length(options) <= ? THEN options END FROM folder "
            "ORDER BY path",
            _LONGEST_SETTING,
        )
        with translated_errors(self.path):
            return {path_of(path): object_of(value, "options of a folder") for path, value in rows}

    def set_folders(self, folders: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the remembered folders; their options are JSON values."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO folder VALUES (?, ?)",
                [(stored_path(path), json.dumps(options)) for path, options in folders.items()],
            )

    # Files that a run left out, which `status` cannot detect without indexing them

    def left_out(self, how: LeftOut) -> dict[str, str]:
        """Return the absolute paths of files that a run left out, with their stamps."""
        value = self._value(
            "SELECT CASE WHEN length(value) <= ? THEN value END FROM setting WHERE key = ?",
            _LONGEST_SETTING,
            f"{how}_files",
        )
        # This is only a cache: without it they count as files to index.
        try:
            stamps = json.loads(value or "{}")
        except (TypeError, ValueError, RecursionError):
            return {}
        if not isinstance(stamps, dict):
            return {}
        return {native(path): stamp for path, stamp in stamps.items() if isinstance(stamp, str)}

    def set_left_out(self, how: LeftOut, left: Mapping[str, str], seen: Collection[str]) -> None:
        """Remember the files that a run left out; forget the other files in `seen`."""
        known = self.left_out(how)
        files = {path: stamp for path, stamp in known.items() if path not in seen}
        files |= left
        files = dict(list(files.items())[-_MOST_LEFT_OUT:])
        if files != known:
            value = json.dumps({portable(path): stamp for path, stamp in files.items()})
            with self._transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO setting VALUES (?, ?)", (f"{how}_files", value)
                )

    def remove_folder(self, path: str) -> bool:
        """Forget a folder, but keep its documents; return False if it was not remembered."""
        with self._transaction() as connection:
            return bool(
                connection.execute(
                    "DELETE FROM folder WHERE path = ?", (stored_path(path),)
                ).rowcount
            )
