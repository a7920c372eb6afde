"""The distribution to the nodes of a cluster: actors with their CPUs, and the model's file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jlocal.arguments import wrong
from jlocal.errors import ArgumentError, JlocalError, ModelError
from jlocal.files import sha256_of
from jlocal.locations import cache_folder, make_private
from jlocal.models import names
from jlocal.outputs.atomic import atomic_write
from jlocal.terms import Argument, terms_of

# Returns the bytes of the model's file from an offset on; none at its end.
ReadModel = Callable[[int], bytes]


@dataclass(frozen=True)
class Room:
    """The resources of a node."""

    cpus: float
    gpus: float = 0


@dataclass(frozen=True)
class Workers:
    """The number of actors and the resources of each; None lets the cluster decide.

    Attributes:
        actors: their number; by default one for each GPU, or one for each node without any GPU.
        cpus: CPUs and threads of each actor; by default the actors of a node share its CPUs evenly.
        gpus: GPUs of each actor; by default 1 if the cluster has GPUs.

    """

    actors: int | None = None
    cpus: int | None = None
    gpus: float | None = None

    def placed(self, rooms: Sequence[Room], *, spare: int = 0, most: int | None = None) -> Workers:
        """Fill in the values that were not given.

        Args:
            rooms: the nodes.
            spare: CPUs of each node to leave to other work, if it has more than one.
            most: the maximum number of actors that have work.

        Raises:
            ArgumentError: there is no room for them.

        """
        for name, value in (("actors", self.actors), ("cpus_per_actor", self.cpus)):
            if value is not None and value < 1:
                raise wrong(name, value, "it is at least 1")
        usable = [room for room in rooms if room.cpus >= 1]
        with_gpus = [room for room in usable if room.gpus >= 1]
        gpus = float(bool(with_gpus)) if self.gpus is None else self.gpus
        usable = with_gpus if gpus else usable
        actors = self.actors
        if actors is None:
            actors = sum(int(room.gpus / gpus) if gpus else 1 for room in usable)
            actors = max(1, min(actors, most or actors))
        cpus = self.cpus
        if cpus is None and usable:
            on_each = -(-actors // len(usable))
            free = min(max(1.0, room.cpus - spare) for room in usable)
            cpus = max(1, int(free // on_each))
        cpus = cpus or 1
        fit = sum(
            int(min(room.cpus // cpus, room.gpus / gpus if gpus else room.cpus)) for room in usable
        )
        if fit < actors:
            requested = Argument("actors", actors), Argument("cpus_per_actor", cpus)
            raise ArgumentError(
                f"the cluster has room for {fit} of {requested[0]} with {requested[1]}; Ray would "
                "wait for ever",
                *requested,
                argument="actors",
            )
        return Workers(actors, cpus, gpus)


def model_here(name: str, sha256: str, read: ReadModel | None = None) -> Path:
    """Return the file of a model on this node; fetch it if it is missing.

    Args:
        name: its name or absolute path.
        sha256: of the file; another file of this name is not taken.
        read: reads it from the node that started the job; None fetches nothing.

    Raises:
        ModelError: it is not here, and cannot be fetched.
        OutputError: the folder for it cannot be written.

    """
    try:
        path = names.resolve(name, offline=True)
        if sha256_of(path) == sha256:
            return path
        reason = f"{path} is another file"
    except JlocalError as error:
        reason = error.message
    except OSError as error:
        reason = str(error)
    kept = cache_folder() / "cluster" / f"{sha256}.gguf"
    if kept.is_file() and sha256_of(kept) == sha256:
        return kept
    if read is None:
        raise ModelError(
            f"the model of this job, with the SHA-256 {sha256}, is not here: {reason}",
            *terms_of(reason),
        )
    make_private(kept.parent)
    digest = hashlib.sha256()
    with atomic_write(kept) as file:
        while block := read(file.tell()):
            digest.update(block)
            file.write(block)
        if digest.hexdigest() != sha256:
            raise ModelError(
                f"the fetched model has the SHA-256 {digest.hexdigest()}, not {sha256}"
            )
    return kept
