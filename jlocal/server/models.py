"""The models of a server: their names, and which of them are loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jlocal.errors import ModelError
from jlocal.models import catalogue, names, registry, starter
from jlocal.models.profile import Profile, read_profile
from jlocal.models.prompts import document_prompt, query_prompt
from jlocal.server.options import ServerOptions
from jlocal.server.problem import Kind, Problem

if TYPE_CHECKING:
    from jlocal.embed.embedder import Embedder
    from jlocal.llama.scheduler import Scheduler
    from jlocal.llama.stats import OnBatch

Side = Literal["query", "document"]
_SIDES: tuple[Side, ...] = ("query", "document")
# Some clients offer only models whose id has this in it.
_IN_IDS = "embed"


@dataclass(eq=False)
class ServedModel:
    """A model that clients can name, loaded or not.

    Attributes:
        id: the name under which it is listed.
        name: its name on this machine, or its path.
        path: its GGUF file.
        created: time of the file, in seconds since 1970.
        embedder: the loaded model; None if it is not loaded.
        users: requests that use it now.
        last_used: monotonic time of its last use.

    """

    id: str
    name: str
    path: Path
    embedder: Embedder | None = None
    users: int = 0
    last_used: float = 0
    loading: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @cached_property
    def profile(self) -> Profile:
        """The properties of the model, read from its header without loading it."""
        return read_profile(self.path)

    @cached_property
    def created(self) -> int:
        """Time of the file, in seconds since 1970."""
        return int(self.path.stat().st_mtime)

    @property
    def scheduler(self) -> Scheduler | None:
        """The embedder that computes its vectors; None if it is not loaded."""
        return self.embedder.preparer().runtime.scheduler if self.embedder else None

    def prompt_name(self, side: Side | None) -> str | None:
        """Return the name of the prompt for queries or documents; None if the model has none."""
        prompts = self.profile.prompts
        if side == "query":
            return query_prompt(prompts)
        return document_prompt(prompts) if side == "document" else None


class ModelPool:
    """The models of a server, of which some are loaded; for one event loop."""

    def __init__(self, options: ServerOptions, on_batch: OnBatch | None = None) -> None:
        """Find the models; none is loaded yet.

        Args:
            options: name the models, and how many of them are loaded.
            on_batch: called with the texts, tokens and seconds of each batch, in another thread.

        Raises:
            ModelError: a model cannot be found.

        """
        self._compute, self._on_batch = options.compute, on_batch
        self._most, self._patience = options.limits.loaded_models, options.timeouts.load
        self._queued_tokens = options.limits.queued_tokens
        self._changed = asyncio.Condition()
        self.models: list[ServedModel] = []
        self._unlisted: dict[Path, ServedModel] = {}
        self._names: dict[str, ServedModel] = {}
        chosen = options.models or _local_names()
        for name in chosen:
            alias, _, model = name.rpartition("=")
            self._add(model, alias or None)

    def _add(self, name: str, alias: str | None) -> None:
        path = names.resolve(name)
        known = next((model for model in self.models if model.path == path), None)
        model = known or ServedModel(_free(_id(name, path), self._names), name, path)
        if known is None:
            self.models.append(model)
        for other in (alias, *_aliases(name, path), model.id):
            if other:
                self._names.setdefault(other.casefold(), model)

    @property
    def default(self) -> ServedModel:
        """The model of requests that name none."""
        return self.models[0]

    @property
    def loaded(self) -> list[ServedModel]:
        """The models in memory."""
        return [model for model in self.all if model.embedder]

    @property
    def all(self) -> list[ServedModel]:
        """The models that clients can name, and those that only collections need."""
        return [*self.models, *self._unlisted.values()]

    def ids(self) -> list[tuple[str, ServedModel]]:
        """List all names for clients: each model alone, for queries, and for documents."""
        return [
            (f"{model.id}{suffix}", model)
            for model in self.models
            for suffix in ("", *(f":{side}" for side in _SIDES if model.prompt_name(side)))
        ]

    def find(self, name: str | None) -> tuple[ServedModel, Side | None]:
        """Return the model of a name, and the side: "NAME", "NAME:query", "NAME:document".

        Raises:
            Problem: no model has this name.

        """
        if not name:
            return self.default, None
        requested = name.casefold()
        if model := self._names.get(requested):
            return model, None
        for side in _SIDES:
            model = self._names.get(requested.removesuffix(f":{side}"))
            if model and requested.endswith(f":{side}"):
                return model, side
        known = ", ".join(model.id for model in self.models[:20])
        raise Problem(
            Kind.NOT_FOUND,
            f"there is no model {name[:80]!r} here; this server has: {known}",
            parameter="model",
        )

    def for_file(self, path: Path) -> ServedModel:
        """Return the model of a file that a collection names; clients need not know it."""
        real = path.resolve()
        for model in self.all:
            if model.path.resolve() == real:
                return model
        return self._unlisted.setdefault(real, ServedModel(_id(str(path), path), str(path), path))

    def for_task(self, model: ServedModel, task: str) -> ServedModel:
        """Return the model that was made from the same one for a task.

        Raises:
            Problem: this server has none.

        """
        if model.profile.task in (task, None):
            return model
        published = catalogue.published_model(model.name)
        siblings = [
            other
            for other in self.models
            if published
            and (of := catalogue.published_model(other.name))
            and (of.size, of.task) == (published.size, task)
        ]
        if not siblings:
            raise Problem(
                Kind.INVALID,
                f"{model.id} is for {model.profile.task}; this server has no model for {task}",
                parameter="task",
            )
        return siblings[0]

    def load_first(self) -> None:
        """Load as many models as may be loaded, before the server answers.

        Raises:
            ModelError: a model cannot be loaded.

        """
        for model in self.models[: self._most]:
            model.embedder = self._embedder(model)

    @asynccontextmanager
    async def loaded_model(self, model: ServedModel) -> AsyncIterator[Embedder]:
        """Load a model if it is not loaded, and keep it in memory inside this context.

        Raises:
            ModelError: it cannot be loaded.
            Problem: all places are taken by models that are in use.

        """
        model.users += 1
        try:
            if model.embedder is None:
                async with model.loading:
                    if model.embedder is None:
                        await self._load(model)
            embedder = model.embedder
            if embedder is None:  # the server is closing
                raise Problem(Kind.UNAVAILABLE, "the server is stopping")
            yield embedder
        finally:
            model.users -= 1
            model.last_used = time.monotonic()
            if not model.users and len(self.all) > self._most:
                async with self._changed:
                    self._changed.notify_all()

    async def close(self) -> None:
        """Free all models."""
        for model in self.loaded:
            await self._unload(model)

    async def _load(self, model: ServedModel) -> None:
        try:
            await asyncio.wait_for(self._make_room(), self._patience)
        except asyncio.TimeoutError:
            raise Problem(
                Kind.UNAVAILABLE,
                f"{model.id} is not loaded, and the {self._most} models that are loaded are in "
                "use; try again later",
                retry_after=5,
            ) from None
        model.embedder = await asyncio.to_thread(self._embedder, model)

    def _embedder(self, model: ServedModel) -> Embedder:
        from jlocal.embed.embedder import Embedder

        embedder = Embedder(model.path, **vars(self._compute))
        scheduler = embedder.preparer().runtime.scheduler
        scheduler.token_limit, scheduler.on_batch = self._queued_tokens, self._on_batch
        return embedder

    async def _make_room(self) -> None:
        async with self._changed:
            while len(self.loaded) >= self._most:
                idle = [model for model in self.loaded if not model.users]
                if idle:
                    await self._unload(min(idle, key=lambda model: model.last_used))
                else:
                    await self._changed.wait()

    async def _unload(self, model: ServedModel) -> None:
        embedder, model.embedder = model.embedder, None
        if embedder:
            await asyncio.to_thread(embedder.close)


def _local_names() -> list[str]:
    """List the models on this machine, the one that `Embedder()` takes first."""
    local = names.local_names()
    try:
        default = names.default_model()
    except ModelError:  # there are several
        default = next((name for name in local if name != starter.NAME), starter.NAME)
    return [default, *(name for name in local if name != default)]


def _id(name: str, path: Path) -> str:
    """Return the listed name of a model: the published one where it has one."""
    installed = registry.find(name) or registry.find_by_path(path)
    if starter.is_starter(name) or path == starter.FILE:
        base = starter.NAME
    elif installed:
        published = catalogue.published_model(installed.name)
        base = published.base.partition("/")[2] if published else installed.name
        if published:
            base += f"-{published.task}"
    else:
        base = path.stem
    return base if _IN_IDS in base.casefold() else f"{base}-embedding"


def _free(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number if another model has it."""
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _aliases(name: str, path: Path) -> list[str]:
    """List the other names of a model, the most exact first."""
    installed = registry.find(name) or registry.find_by_path(path)
    if starter.is_starter(name) or path == starter.FILE:
        return [starter.NAME]
    aliases = [] if path == Path(name) else [name]
    if installed is None:
        return [*aliases, path.stem]
    aliases.append(installed.name)
    if published := catalogue.published_model(installed.name):
        merged = f"{published.base}-{published.task}"
        aliases += [
            f"{merged}:{installed.type}",
            published.name,
            merged,
            merged.partition("/")[2],
            published.size,
            published.base,
            published.base.partition("/")[2],
        ]
    return aliases
