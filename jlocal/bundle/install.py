"""Checking a bundle, and installing its models."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jlocal.bundle.standalone import Bundle, Manifest, Model, RefusedError
from jlocal.errors import BundleError, ModelError, OutputError
from jlocal.gguf.header import read_header
from jlocal.locations import home, make_private
from jlocal.models.profile import profile_of
from jlocal.models.registry import Installed, check_name, find, install_file, reference_vector_file
from jlocal.outputs.staging import scratch_folder, sweep

# Bytes done since the last call.
OnBytes = Callable[[int], object]

# Free space that the disk must keep besides the models.
_DISK_RESERVE = 64 << 20

# The source of a model before it was bundled.
_SOURCE = re.compile(r"convert|[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{7,64}")

# More than the largest header that read_header accepts.
_MAX_HEADER = 256 << 20


def verify(path: Path, on_bytes: OnBytes | None = None) -> Manifest:
    """Check every byte of a bundle, and the headers of its models.

    The headers are read from temporary copies, since `read_header` maps a file.

    Raises:
        BundleError: the bundle is incomplete, or a model in it is unusable.
        OutputError: the disk has no space for the copy of a header.

    """
    with _named_errors(path), Bundle(path) as bundle, tempfile.TemporaryDirectory() as folder:
        for member, content in bundle.members(on_bytes):
            if member.path.startswith("models/"):
                staged = Path(folder) / "model.gguf"
                # A sparse file of the model's size, with only its header.
                with staged.open("wb") as file:
                    for chunk in content:
                        if file.tell() < _MAX_HEADER:
                            file.write(chunk)
                    file.truncate(member.size)
                _check_model(member.path, staged)
        return bundle.manifest


def install(path: Path, on_bytes: OnBytes | None = None) -> list[Installed]:
    """Install the models of a bundle after checking the whole bundle.

    No model is installed when a check fails. An installed model with the same content is kept.

    Raises:
        BundleError: the bundle is damaged, holds no model, or a model in it is unusable or has the
            name of a different installed model.
        OutputError: the models cannot be written to disk.

    """
    with _named_errors(path), Bundle(path) as bundle:
        manifest = bundle.manifest
        if not manifest.models:
            raise RefusedError("it holds no model")
        sums = {member.path: member.sha256 for member in manifest.members}
        for model in manifest.models:
            _check_free(model.name, sums[model.path])
        with _staging(manifest) as folder:
            for member, content in bundle.members(on_bytes):
                if member.path.startswith("models/"):
                    staged = folder / Path(member.path).name
                    with staged.open("xb") as file:
                        file.writelines(content)
                        file.flush()
                        os.fsync(file.fileno())
                    _check_model(member.path, staged)
            return [_install_model(model, folder, sums[model.path]) for model in manifest.models]


def _install_model(model: Model, folder: Path, sha256: str) -> Installed:
    from jlocal.models.info import model_info

    staged = folder / Path(model.path).name
    header = read_header(staged)
    profile = profile_of(header)
    record: dict[str, object] = {
        "name": model.name,
        "source": "bundle",
        "sha256": sha256,
        "license": profile.license,
        "task": profile.task,
        "type": model_info(header)["type"],
    }
    if model.source and _SOURCE.fullmatch(model.source):
        record["source"] = model.source
    if model.revision and _REVISION.fullmatch(model.revision):
        record["revision"] = model.revision
    check, target = folder / "check.json", reference_vector_file(sha256)
    if model.check is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        check.write_text(json.dumps(model.check), encoding="utf-8")
    installed = install_file(staged, record)
    if check.exists():
        check.replace(target)
    return installed


def _check_free(name: str, sha256: str) -> None:
    there = find(check_name(name))
    if there is not None and there.cached is None and there.sha256 not in (None, sha256):
        raise RefusedError(
            f"a different {there.name} is on this machine; `jlocal rm {there.name}` first"
        )


def _check_model(name: str, staged: Path) -> None:
    try:
        profile_of(read_header(staged))
    except ModelError as error:
        raise RefusedError(error.message.replace(str(error.path), name)) from error


@contextmanager
def _staging(manifest: Manifest) -> Iterator[Path]:
    """Create a temporary folder on the disk of the models, after checking its free space."""
    make_private(home())
    sweep(home())
    need = sum(m.size for m in manifest.members if m.path.startswith("models/"))
    free = shutil.disk_usage(home()).free
    if need + _DISK_RESERVE > free:
        raise OutputError(
            f"{home()} has {free / 1e6:,.0f} MB free; these models need {need / 1e6:,.0f} MB",
            path=home(),
        )
    with scratch_folder(home()) as folder:
        yield folder


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Put the path of the bundle into error messages."""
    try:
        yield
    except RefusedError as error:
        raise BundleError(f"{path}: {error}", path=path) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}", path=path) from error
    except ModelError as error:
        raise BundleError(f"{path}: {error}", path=path) from error
