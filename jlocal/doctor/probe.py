"""Running llama.cpp in a child process, which it may crash."""

from __future__ import annotations

import json
import signal
from importlib import metadata
from typing import Any

from jlocal import child
from jlocal.embed.probe import ProbeVectors
from jlocal.errors import ModelError
from jlocal.llama.features import BuildInfo

# In seconds: people run `doctor` because of hangs of an hour.
_TIMEOUT = 600


def build_info() -> BuildInfo:
    """Return llama.cpp's build information.

    Raises:
        ModelError: llama.cpp failed, or the process was killed.

    """
    return BuildInfo(**_run())


def vectors(*model_and_text: str) -> ProbeVectors:
    """Embed a text with a model file, as `jlocal.embed.probe.vectors` does.

    Raises:
        ModelError: llama.cpp failed, or the process was killed.

    """
    return ProbeVectors(**_run(*model_and_text))


def rebuild_command() -> tuple[str, ...]:
    """Return the command lines that build llama.cpp again for this machine."""
    try:
        version = f"=={metadata.version('llama-cpp-python')}"
    except metadata.PackageNotFoundError:
        version = ""
    return (
        'CMAKE_ARGS="-DGGML_NATIVE=ON" pip install --no-cache-dir --force-reinstall \\',
        f"    --no-deps --no-binary llama-cpp-python llama-cpp-python{version}",
    )


def _run(*arguments: str) -> dict[str, Any]:
    try:
        done = child.run("jlocal.embed.probe", *arguments, limits=child.Limits(seconds=_TIMEOUT))
    except TimeoutError as error:
        raise ModelError(str(error)) from None
    if done.status == 0:
        fields: dict[str, Any] = json.loads(done.stdout)
        return fields
    if done.status == -getattr(signal, "SIGILL", 4):
        raise ModelError("it uses instructions that this CPU does not have")
    if done.status < 0:
        raise ModelError(f"its process was ended by signal {-done.status}")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    raise ModelError(lines[-1].rstrip(".") if lines else f"exit status {done.status}")
