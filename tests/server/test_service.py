"""The server as a service: its units, a socket that is passed to it, and no network."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from jlocal import Collection

KEY = "a-key-of-sixteen"
SERVE = (sys.executable, "-m", "jlocal", "serve", "-m", "starter", "--lazy")


def unit(*arguments: str, folder: Path, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "serve", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout or done.stderr


def command(service: str) -> list[str]:
    """Read the command line of a service as systemd.syntax(7) says."""
    [line] = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    return [word.replace("%%", "%") for word in shlex.split(line.removeprefix("ExecStart="))]


def verify(*files: Path) -> None:
    if not shutil.which("systemd-analyze"):
        return
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *files],
        env={**os.environ, "XDG_RUNTIME_DIR": str(files[0].parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "jlocal" not in done.stderr


@pytest.mark.slow
def test_a_unit_runs_the_command_line_that_printed_it(tmp_path) -> None:
    model = tmp_path / 'odd %h $HOME "quoted" \\ model.gguf'
    model.touch()
    given = ("-m", f"mine={model.name}", "-m", "starter", "-d", "notes.db", "--lazy", "-t", "2")
    found = {
        kind: unit(*given, "--print-unit", kind, folder=tmp_path)
        for kind in ("systemd-service", "systemd-socket", "systemd", "launchd")
    }
    expected = [
        *("-m", "jlocal", "serve", f"--model=mine={model}", "--model=starter"),
        *(f"--database={tmp_path / 'notes.db'}", "--lazy", "--threads=2"),
    ]
    words = command(found["systemd-service"])
    assert words == [f":{sys.executable}", *expected]
    assert Path(sys.executable).is_absolute()
    assert plistlib.loads(found["launchd"].encode())["ProgramArguments"][4:] == [
        sys.executable,
        *expected,
    ]
    service, listener = tmp_path / "jlocal.service", tmp_path / "jlocal.socket"
    service.write_text(found["systemd-service"])
    listener.write_text(found["systemd-socket"])
    assert "ListenStream=127.0.0.1:8080\n" in found["systemd-socket"]
    assert found["systemd-service"] in found["systemd"]
    assert found["systemd-socket"] in found["systemd"]
    verify(service, listener)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["systemd", "launchd"])
def test_a_unit_never_holds_the_key(tmp_path, kind) -> None:
    options = ("--host", "::", "--print-unit", kind)
    for given, environment in ((("--api-key", KEY), {}), ((), {"JLOCAL_API_KEY": KEY})):
        found = unit(*given, *options, folder=tmp_path, **environment)
        assert KEY not in found
        assert ".config/jlocal/serve.env" in found
        if kind == "systemd":
            assert "\nEnvironmentFile=%h/" in found
            assert "\nListenStream=[::]:8080\n" in found


def test_the_image_installs_the_llama_cpp_that_is_asked_for() -> None:
    root = Path(__file__).parents[2]
    image = (root / "packaging" / "Dockerfile").read_text()
    [needed] = re.findall(r'"(llama-cpp-python\S+)"', (root / "pyproject.toml").read_text())
    assert f'pip install "{needed}"' in image


@pytest.mark.slow
def test_what_no_unit_can_say_is_refused(tmp_path) -> None:
    for arguments, reason in (
        (("--port", "0", "--print-unit", "launchd"), "needs a port"),
        (("--host", "box.lan", "--print-unit", "systemd"), "'box.lan' is a name"),
        (("--cors", "a\nb", "--print-unit", "launchd"), "control characters"),
        (("--print-unit", "cron"), "'cron'"),
    ):
        status = 2 if reason in ("needs a port", "'cron'") else 1
        error = unit(*arguments, folder=tmp_path, status=status)
        assert reason in error
        assert "Traceback" not in error


def answer_of(url: str, route: str, process: subprocess.Popen[bytes]) -> httpx.Response:
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url + route, timeout=30)
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.slow
def test_a_passed_socket_is_served_without_a_port_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "http://{}:{}".format(*listener.getsockname())
        # As systemd does: the socket is descriptor 3 of a process that knows its own number.
        passing = 'exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        process = subprocess.Popen(
            ["/bin/sh", "-c", passing, "-", *SERVE, "--port", "1"],
            stdin=listener,
            stdout=subprocess.PIPE,
        )
        try:
            assert answer_of(url, "/health", process).status_code == 200
            assert process.stdout
            assert url in process.stdout.readline().decode()
        finally:
            process.terminate()
            assert process.wait(60) == 0
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd")
def test_systemd_starts_the_server_with_the_first_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *SERVE],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        models = answer_of(f"http://127.0.0.1:{port}", "/v1/models", process).json()
        assert models["data"][0]["object"] == "model"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


# Runs where there is no network: brings loopback up, serves, embeds and searches.
_ALONE = """
import fcntl, json, socket, struct, subprocess, sys, urllib.request

with socket.socket() as control:
    request = struct.pack("16sH14s", b"lo", 0x1 | 0x40, b"")  # IFF_UP, IFF_RUNNING
    fcntl.ioctl(control, 0x8914, request)  # SIOCSIFFLAGS
assert [name for _, name in socket.if_nameindex()] == ["lo"]
command = [sys.executable, "-m", "jlocal", "serve", "-m", "starter", "--port", "0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
url = server.stdout.readline().split()[3]

def post(route, **fields):
    body = json.dumps(fields).encode()
    with urllib.request.urlopen(url + route, body, timeout=60) as answer:
        return json.load(answer)

vector = post("/v1/embeddings", input="Mars")["data"][0]["embedding"]
document = post("/search", query="ferry", n=1)["hits"][0]["document"]
server.terminate()
print(json.dumps([server.wait(60), vector, document]))
"""


@pytest.mark.slow
@pytest.mark.network_namespace
def test_a_server_needs_no_network(tmp_path, starter) -> None:
    import json

    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel gives no network namespaces to this user")
    (tmp_path / "collections").mkdir()
    with Collection(tmp_path / "collections" / "notes.db", starter) as collection:
        collection.add(["The ferry leaves at noon.", "Apple pie."], ["ferry", "pie"])
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", _ALONE],
        env={**os.environ, "JLOCAL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status, vector, document = json.loads(done.stdout)
    assert status == 0
    assert vector == pytest.approx(starter.encode(["Mars"])[0].tolist(), abs=1e-5)
    assert document == "ferry"
