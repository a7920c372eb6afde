"""Models that several collections share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from jlocal.collection.config import CollectionConfig
from jlocal.collection.opening import model_file

# It imports llama.cpp, which a search for words does not need.
if TYPE_CHECKING:
    from jlocal.embed.embedder import Embedder
    from jlocal.embed.loading import Pooling
    from jlocal.embed.options import ComputeArguments

_MOST_OPEN = 3
_Key = tuple[Path, int, int, str]


class Models(Protocol):
    """Lends the model that made a collection."""

    def lend(self, config: CollectionConfig, path: Path) -> AbstractContextManager[Embedder]:
        """Give an open model until the end of the context; called in a worker thread.

        Args:
            config: of the collection.
            path: its file.

        Raises:
            CollectionError: the model's file is no longer there.
            ModelError: it cannot be loaded.

        """
        ...

    def close(self) -> None:
        """Close the models that were loaded here."""
        ...


@dataclass(eq=False)
class _Open:
    model: Embedder
    users: int = 0


class OwnModels:
    """Loads each model once, when it is first needed, and closes the least used; thread-safe."""

    def __init__(self, compute: ComputeArguments) -> None:
        """Load nothing yet."""
        self._compute = compute
        self._open: OrderedDict[_Key, _Open] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, config: CollectionConfig, path: Path) -> Iterator[Embedder]:
        """Give an open model, see `Models.lend`."""
        from jlocal.embed.embedder import Embedder

        file = model_file(config, path)
        status = file.stat()
        key = (file, status.st_size, status.st_mtime_ns, config.pooling)
        with self._lock:
            if key not in self._open:
                pooling = cast("Pooling", config.pooling)
                self._open[key] = _Open(Embedder(file, pooling=pooling, **self._compute))
            self._open.move_to_end(key)
            one = self._open[key]
            one.users += 1
            self._close_idle(_MOST_OPEN)
        try:
            yield one.model
        finally:
            with self._lock:
                one.users -= 1

    def _close_idle(self, kept: int) -> None:
        idle = [key for key, one in self._open.items() if not one.users]
        for key in idle[: max(0, len(self._open) - kept)]:
            self._open.pop(key).model.close()

    def close(self) -> None:
        """Close all models that nobody uses."""
        with self._lock:
            self._close_idle(0)
