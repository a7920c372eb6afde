"""`jlocal serve`: answer clients of embedding APIs, and a search page, over HTTP."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from jlocal.cli import output, signals
from jlocal.cli.group import Command
from jlocal.cli.options import WholeNumber, compute_options
from jlocal.embed.options import ComputeOptions
from jlocal.progress import log

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments

_KEY = "JLOCAL_API_KEY"
# A service finds the models and collections of this command line through these.
_VARIABLES = ("JLOCAL_HOME", "JLOCAL_CACHE")


@click.command("serve", cls=Command)
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
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Listen on this address.",
)
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Listen on this port; 0 takes a free one.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    envvar=_KEY,
    help=f"Answer only clients that send this key. Other users of the machine can read a command "
    f"line: prefer {_KEY}.",
)
@click.option(
    "--no-auth", is_flag=True, help="Answer without a key, even if --host is not loopback."
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
    help="Keep at most N models in memory; the least recently used model is closed first.",
)
@click.option(
    "--token-ids",
    is_flag=True,
    help="Accept inputs that are token ids of the model itself.",
)
@click.option(
    "--open/--no-open",
    "shown",
    default=False,
    help="Open the search page in a browser.",
)
@click.option("-q", "--quiet", is_flag=True, help="Log no requests.")
@click.option(
    "--print-unit",
    "unit_kind",
    type=click.Choice(["systemd", "systemd-service", "systemd-socket", "launchd"]),
    is_flag=False,
    flag_value="launchd" if sys.platform == "darwin" else "systemd",
    help="Print a unit file that runs this command line as a service, and serve nothing. The key "
    "is not in it.",
)
@compute_options
@click.pass_context
def command(  # noqa: PLR0913
    context: click.Context,
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
    shown: bool,
    quiet: bool,
    unit_kind: str | None,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Serve embeddings and search over HTTP.

    Clients of OpenAI's API, text-embeddings-inference, ollama, Cohere and llama-server get the
    vectors of `jlocal embed` when their URL names this server. Each model has two more names,
    MODEL:query and MODEL:document, for clients that cannot say which of the two a text is. Needs:
    pip install 'jlocal[serve]'.

    \b
    jlocal serve
    jlocal serve -m small -m nano --port 9000
    JLOCAL_API_KEY=… jlocal serve --host 0.0.0.0
    """
    from jlocal.server import check_installed

    check_installed()
    if unit_kind:
        _print_unit(context, unit_kind, is_open=no_auth or _is_loopback(host))
        return
    _check_reach(host, api_key, no_auth)
    from jlocal.server.options import Limits, ServerOptions
    from jlocal.server.run import serve

    options = ServerOptions(
        models=models,
        collections=tuple(map(_collection, collections)),
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
        if shown:
            from jlocal.cli.browser import open_url

            open_url(url)

    # Nothing is written, so a signal before the server takes it, or a second Ctrl-C, need not wait.
    signals.end_at_once()
    serve(options, on_ready, logs=not quiet)


def _print_unit(context: click.Context, kind: str, *, is_open: bool) -> None:
    """Print a unit with the options of the command line, whose paths are made absolute."""
    from jlocal.locations import cache_folder, home
    from jlocal.server.units import KEY_FILE, Unit, printed

    host, port = context.params["host"], context.params["port"]
    if not port:
        raise click.UsageError("a service needs a port that clients know: pass --port")
    unit = Unit(
        _arguments(context),
        host,
        port,
        {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)},
        [home().absolute(), cache_folder().absolute()],
        needs_key=not is_open or context.params["api_key"] is not None,
    )
    for line in printed(unit, kind).splitlines():
        output.line(line)
    if unit.needs_key:
        log(f"the service reads its key from ~/{KEY_FILE}: write {_KEY}=… into it, chmod 600")


def _arguments(context: click.Context) -> list[str]:
    """Return the options that were given, for the same command in another folder."""
    arguments: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        origin = context.get_parameter_source(name)
        is_given = origin in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
        if not is_given or name in ("api_key", "unit_kind"):
            continue
        flag, value = max(option.opts, key=len), context.params[name]
        if isinstance(value, bool):
            arguments.append(flag if value else option.secondary_opts[0])
            continue
        # One word: a value may start with a dash.
        for one in value if isinstance(value, tuple) else (value,):
            arguments.append(f"{flag}={_absolute(name, one)}")
    return arguments


def _absolute(option: str, value: object) -> object:
    """Return the value of an option, in which a path does not depend on the folder."""
    from jlocal.collection.names import collection_path

    if option == "collections":
        return collection_path(str(value)).absolute()
    if option == "models":
        alias, equals, model = str(value).rpartition("=")
        path = Path(model)
        return f"{alias}{equals}{path.absolute() if path.exists() else model}"
    return value


def _collection(name: str) -> Path:
    """Return the file of a collection, which can be read."""
    from jlocal.collection.collection import Collection
    from jlocal.collection.names import collection_path, missing

    path = collection_path(name)
    if not path.exists():
        raise missing(path)
    with Collection(path) as collection:
        len(collection)
    return path


def _check_reach(host: str, api_key: str | None, no_auth: bool) -> None:
    """Refuse to serve a network without a key, unless the user asked for it."""
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
