"""Units that run a server as a service: of systemd, with its socket, and of launchd."""

from __future__ import annotations

import ipaddress
import plistlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jlocal.errors import AddressError, ArgumentError

KINDS = ("systemd", "systemd-service", "systemd-socket", "launchd")
# Relative to the user's home.
KEY_FILE = ".config/jlocal/serve.env"
_LABEL = "org.jlocal.serve"
# Reads the key if there is one, and then becomes the server.
_WITH_KEY = f'set -a; [ ! -r "$HOME/{KEY_FILE}" ] || . "$HOME/{KEY_FILE}"; exec "$@"'


@dataclass(frozen=True)
class Unit:
    """The settings of a server that a unit starts.

    Attributes:
        arguments: of `jlocal serve`.
        host: the address to listen on.
        port: the port.
        environment: variables of the server; the key is none of them.
        writable: folders of jlocal, in which it keeps collections and its cache.
        needs_key: whether it must not start without a key.

    """

    arguments: Sequence[str]
    host: str
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    writable: Sequence[Path] = ()
    needs_key: bool = False

    @property
    def command(self) -> list[str]:
        """The command line, by this Python."""
        return [sys.executable, "-m", "jlocal", "serve", *self.arguments]


def printed(unit: Unit, kind: str) -> str:
    """Return the text of a unit.

    Args:
        unit: the settings of the server.
        kind: one of KINDS; "systemd" is both files, one after the other.

    Raises:
        ArgumentError: a word of it has control characters.
        AddressError: the socket of systemd cannot listen on the address.

    """
    for word in (*unit.command, *unit.environment.values(), *map(str, unit.writable)):
        if not word.isprintable():
            raise ArgumentError(f"a unit cannot hold the control characters in {word!r}")
    if kind == "launchd":
        return _launchd(unit)
    if kind == "systemd-service":
        return _service(unit)
    if kind == "systemd-socket":
        return _socket(unit)
    return (
        f"# ~/.config/systemd/user/jlocal.service\n{_service(unit)}\n"
        f"# ~/.config/systemd/user/jlocal.socket\n{_socket(unit)}"
    )


def _service(unit: Unit) -> str:
    environment = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in unit.environment.items()
    )
    # A folder that is missing is no error.
    writable = "".join(f"ReadWritePaths={_quoted(f'-{folder}')}\n" for folder in unit.writable)
    # The colon: no variables in the command.
    command = " ".join(map(_quoted, (f":{unit.command[0]}", *unit.command[1:])))
    return f"""\
[Unit]
Description=jlocal: embeddings and search on this machine
Requires=jlocal.socket
After=jlocal.socket

[Service]
ExecStart={command}
WorkingDirectory=/
EnvironmentFile={"" if unit.needs_key else "-"}%h/{KEY_FILE}
{environment}Restart=on-failure
TimeoutStopSec=40
UMask=0077
PrivateUsers=true
ProtectSystem=strict
ProtectHome=read-only
{writable}PrivateTmp=true
NoNewPrivileges=true
MemoryDenyWriteExecute=true
LockPersonality=true
ProtectControlGroups=true
ProtectKernelTunables=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


def _socket(unit: Unit) -> str:
    return f"""\
[Unit]
Description=The socket of jlocal

[Socket]
ListenStream={_address(unit.host, unit.port)}

[Install]
WantedBy=sockets.target
"""


def _address(host: str, port: int) -> str:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise AddressError(
            f"a socket of systemd listens on an address, and {host!r} is a name: pass the address "
            "as --host, and the name as --allowed-host",
            host=host,
            port=port,
        ) from None
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _quoted(word: str) -> str:
    """Quote a word as systemd.syntax(7) and systemd.unit(5) have it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _launchd(unit: Unit) -> str:
    values = {
        "Label": _LABEL,
        "ProgramArguments": ["/bin/sh", "-c", _WITH_KEY, "jlocal", *unit.command],
        "EnvironmentVariables": dict(unit.environment),
        "WorkingDirectory": "/",
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ProcessType": "Interactive",
        "Umask": 0o077,
    }
    return plistlib.dumps(values, sort_keys=False).decode().replace("\t", "  ")
