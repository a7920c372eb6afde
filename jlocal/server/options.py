"""The options of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jlocal.embed.options import ComputeOptions

LOOPBACK = "127.0.0.1"
PORT = 8080


@dataclass(frozen=True)
class Limits:
    """How much a server takes before it refuses.

    Attributes:
        inputs: texts in one request.
        body: bytes of one request's body.
        bodies: bytes of the bodies of all requests that are being answered.
        queued_tokens: tokens that may wait in one model.
        connections: open connections.
        loaded_models: models in memory at the same time.

    """

    inputs: int = 2048
    body: int = 32 << 20
    bodies: int = 256 << 20
    queued_tokens: int = 500_000
    connections: int = 1024
    loaded_models: int = 3


@dataclass(frozen=True)
class Timeouts:
    """How long a server waits, in seconds.

    Attributes:
        headers: for the headers of a request.
        body: for its body.
        stalled: for a client that does not read its answer.
        idle: for the next request of an open connection.
        drain: for running requests, when the server is told to stop.
        load: for a place among the loaded models.

    """

    headers: float = 10
    body: float = 60
    stalled: float = 30
    idle: int = 75
    drain: int = 30
    load: float = 60


@dataclass(frozen=True)
class ServerOptions:
    """The options of a server.

    Attributes:
        models: names or paths of models, each alone or as "ALIAS=MODEL"; the first is the default
            model. None are named: all models on this machine, and the model that `Embedder()`
            takes is the default.
        collections: names or paths of collections; empty for those of this machine.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        api_key: the key that clients must send; None for no key.
        hosts: further names under which clients reach the server.
        origins: origins whose pages may read answers (CORS); "*" for all.
        takes_token_ids: whether inputs may be token ids of the model.
        is_lazy: whether models are loaded when they are first asked for.
        compute: how models are computed.
        limits: how much is taken.
        timeouts: how long is waited.

    """

    models: tuple[str, ...] = ()
    collections: tuple[Path, ...] = ()
    host: str = LOOPBACK
    port: int = PORT
    api_key: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    takes_token_ids: bool = False
    is_lazy: bool = False
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
