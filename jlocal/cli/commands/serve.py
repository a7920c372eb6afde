"""`jlocal serve`: answer clients of embedding APIs, and a search page, over HTTP."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING

import click

from jlocal.cli import output
from jlocal.cli.options import WholeNumber, compute_options
from jlocal.embed.options import ComputeOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments

_KEY = "JLOCAL_API_KEY"


@click.command("serve")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Serve this model, by name or path; may be repeated. ALIAS=MODEL also serves it under "
    "another name. Without -m, all models on this machine are served, and loaded when first used.",
)
@click.option(
    "-d",
    "--database",
    "collections",
    multiple=True,
    metavar="COLLECTION",
    help="Let clients search this collection, by name or path; may be repeated. Without -d, they "
    "may search all that `jlocal collections` lists.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Listen on this port; 0 takes a free one.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    envvar=_KEY,
    help=f"Answer only clients that send this key. Other users of the machine can read a command "
    f"line, so rather set {_KEY}.",
)
@click.option(
    "--no-auth", is_flag=True, help="Answer everyone who can reach an address that is not loopback."
)
@click.option(
    "--allowed-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Also answer requests to this host name; may be repeated.",
)
@click.option(
    "--cors",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin read answers, such as app://obsidian.md; may be repeated.",
)
@click.option("--lazy", is_flag=True, help="Load each model when it is first used.")
@click.option(
    "--max-loaded",
    type=WholeNumber(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Keep at most N models in memory; the least recently used is closed.",
)
@click.option(
    "--token-ids",
    is_flag=True,
    help="Accept inputs that are token ids of the model itself.",
)
@click.option("-q", "--quiet", is_flag=True, help="Log no requests.")
@compute_options
def command(  # noqa: PLR0913
    models: tuple[str, ...],
    collections: tuple[str, ...],
    host: str,
    port: int,
    api_key: str | None,
    no_auth: bool,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    lazy: bool,
    max_loaded: int,
    token_ids: bool,
    quiet: bool,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Serve embeddings and search over HTTP.

    Clients of OpenAI's API, text-embeddings-inference, ollama, Cohere and llama-server get the
    vectors of `jlocal embed` when their URL names this server. Each model has two more names,
    MODEL:query and MODEL:document, for clients that cannot say which. Needs: pip install
    'jlocal[serve]'.

    \b
    jlocal serve
    jlocal serve -m small -m nano --port 9000
    JLOCAL_API_KEY=… jlocal serve --host 0.0.0.0
    """
    from jlocal.server import check_installed

    check_installed()
    _check_reach(host, api_key, no_auth)
    from jlocal.collection.names import collection_path
    from jlocal.server.options import Limits, ServerOptions
    from jlocal.server.run import serve

    options = ServerOptions(
        models=models,
        collections=tuple(collection_path(name) for name in collections),
        host=host,
        port=port,
        api_key=api_key,
        hosts=hosts,
        origins=origins,
        takes_token_ids=token_ids,
        is_lazy=lazy,
        compute=ComputeOptions(**compute),
        limits=Limits(loaded_models=max_loaded),
    )

    def on_ready(url: str) -> None:
        output.line(f"jlocal answers at {url} (Ctrl-C ends it)")
        sys.stdout.flush()

    serve(options, on_ready, logs=not quiet)


def _check_reach(host: str, api_key: str | None, no_auth: bool) -> None:
    """Refuse to answer a network without a key, unless that is what the user wants."""
    if api_key is not None and (not api_key or not api_key.isascii() or not api_key.isprintable()):
        raise click.UsageError("the key must be printable ASCII, and not empty")
    if api_key is None and not no_auth and not _is_loopback(host):
        raise click.UsageError(
            f"{host} can be reached from other machines: set {_KEY}, or pass --no-auth to answer "
            "everyone"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
