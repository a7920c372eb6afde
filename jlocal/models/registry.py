"""The models on this machine: listing, finding, installing and removing them.

A model is a record and a file. Records are `home()/models/NAME.json`; the file is beside its
record, or in huggingface_hub's cache. Files in that cache are found without a record.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jlocal.errors import ModelError, OutputError
from jlocal.files import read_regular, sha256_of
from jlocal.locations import home, make_private
from jlocal.models.cache import (
    CachedFile,
    cached_file,
    cached_files,
    delete_cached,
    is_safe,
    revisions,
)
from jlocal.models.catalogue import canonical, is_part_of_split, published_model, type_in
from jlocal.outputs.atomic import atomic_write

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 200
_MAX_RECORD_SIZE, _MAX_MODEL_SIZE = 64 << 10, 1 << 62
_TEXT_KEYS = ("name", "source", "revision", "sha256", "license", "task", "type")


@dataclass(frozen=True)
class Installed:
    """A model on this machine.

    Attributes:
        name: the name that a user types, such as "small-retrieval:Q8_0".
        path: the GGUF file.
        size: size in bytes.
        sha256: SHA-256 in hexadecimal; None if it was not recorded.
        source: "owner/repo", "bundle" or "convert".
        revision: commit of the repository; None without a repository.
        license: license of the weights, from the hub or the header.
        task: the task, such as "retrieval"; None if unknown.
        type: type of the weights, such as "Q8_0".
        last_used: time of the last use of its name, in seconds since 1970; None if unknown.

    """

    name: str
    path: Path
    size: int
    sha256: str | None
    source: str
    revision: str | None = None
    license: str | None = None
    task: str | None = None
    type: str | None = None
    last_used: float | None = None
    cached: CachedFile | None = field(default=None, repr=False)


def installed() -> list[Installed]:
    """List the models on this machine, sorted by name.

    Invalid GGUF files and parts of split files are left out.

    Raises:
        ModelError: a record cannot be read.

    """
    models = [model for model in _recorded() if _is_complete(model)]
    recorded = _recorded_files()
    for cached in cached_files():
        if not is_part_of_split(cached.file) and (cached.repository, cached.file) not in recorded:
            models += filter(None, [_from_cache(cached)])
    return sorted(models, key=lambda model: model.name.casefold())


def find(name: str) -> Installed | None:
    """Find a model by its name, in any case, short or in full.

    Raises:
        ModelError: a record cannot be read.

    """
    requested = canonical(name).casefold()
    for model in _recorded():
        if model.name.casefold() == requested and _is_complete(model):
            return model
    recorded = _recorded_files()
    for cached in cached_files():
        if is_part_of_split(cached.file) or (cached.repository, cached.file) in recorded:
            continue
        if requested in _names(cached) and (other := _from_cache(cached)):
            return other
    return None


def find_damaged(name: str) -> Installed | None:
    """Find a model whose file differs in size from its record.

    Raises:
        ModelError: a record cannot be read.

    """
    requested = canonical(name).casefold()
    return next(
        (m for m in _recorded() if m.name.casefold() == requested and not _is_complete(m)), None
    )


def find_by_path(path: Path) -> Installed | None:
    """Find the model of a file; the path may go through links.

    Raises:
        ModelError: a record cannot be read.

    """
    real = os.path.realpath(path)
    for model in _recorded():
        if os.path.realpath(model.path) == real:
            return model
    matches = (file for file in cached_files() if os.path.realpath(file.path) == real)
    cached = next(matches, None)
    return _from_cache(cached) if cached else None


def install_file(
    staged: Path, attributes: Mapping[str, object], *, replace: bool = False
) -> Installed:
    """Install a checked GGUF file and its record in one step.

    Args:
        staged: a file on the file system of `home()`; it is moved.
        attributes: attributes of `Installed`, at least `name` and `source`.
        replace: replace a different file of the same name.

    Raises:
        ModelError: the name is not valid, or a different file has it already.
        OutputError: the file or its record cannot be written.

    """
    strings = {key: attributes[key] for key in _TEXT_KEYS if attributes.get(key) is not None}
    name = strings["name"] = check_name(canonical(str(strings["name"])))
    try:
        sha256 = str(strings.get("sha256") or sha256_of(staged))
        existing = find(name)
        if existing is not None and existing.cached is None and not replace:
            if (existing.sha256 or sha256_of(existing.path)) != sha256:
                raise ModelError(
                    f"a different {existing.name} is on this machine; "
                    f"`jlocal rm {existing.name}` first"
                )
            staged.unlink()
            return existing
        record: dict[str, object] = strings | {"sha256": sha256, "size": staged.stat().st_size}
        target = _record_path(name).with_suffix(".gguf")
        # A record without its file is not listed, so the move is what installs the model.
        _write_record(name, record)
        staged.replace(target)
    except OSError as error:
        raise OutputError(f"cannot keep {name}: {error.strerror or error}") from error
    return _from_record(_record_path(name), record)


def record_cached(cached: CachedFile, name: str, attributes: Mapping[str, object]) -> Installed:
    """Record a file of the hub's cache as the model of a name.

    Args:
        cached: the file.
        name: the name.
        attributes: further attributes of `Installed`.

    Raises:
        ModelError: the name is not valid.
        OutputError: the record cannot be written.

    """
    record = {key: attributes[key] for key in _TEXT_KEYS if attributes.get(key) is not None}
    name = check_name(canonical(name))
    record |= {
        "name": name,
        "source": cached.repository,
        "revision": cached.revision,
        "file": cached.file,
        "size": cached.path.stat().st_size,
    }
    _write_record(name, record)
    return _from_record(_record_path(name), record)


def remove(model: Installed) -> None:
    """Remove a model: its record, its file, and the reference vector that came with it.

    Raises:
        OutputError: the model cannot be removed.

    """
    try:
        _record_path(model.name).unlink(missing_ok=True)
        if model.cached:
            for cached in revisions(model.cached):
                delete_cached(cached)
        else:
            model.path.unlink(missing_ok=True)
        if model.sha256 and all(other.sha256 != model.sha256 for other in _recorded()):
            reference_vector_file(model.sha256).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {model.name}: {error.strerror or error}") from error


def mark_used(model: Installed) -> None:
    """Record that a model is used now."""
    # A read-only folder does not keep anyone from using the model.
    with suppress(OSError):
        os.utime(_record_path(model.name), (time.time(), time.time()))


def reference_vector_file(sha256: str) -> Path:
    """Return the path of the vector that came with a bundled model file, from another machine."""
    return home() / "checks" / f"{sha256}.json"


def lock_file(name: str) -> Path:
    """Return the path of the file that is locked while a model is converted."""
    return home() / ".locks" / _record_path(name).with_suffix(".lock").name


def check_name(name: str) -> str:
    """Return the name if it is safe as part of a path.

    Raises:
        ModelError: the name is not safe.

    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or ".." in name:
        raise ModelError(f"{name[:80]!r} cannot be the name of a model")
    return name


def _record_path(name: str) -> Path:
    plain = check_name(name).replace("/", "--").replace(":", "-")
    return home() / "models" / f"{plain}.json"


def _write_record(name: str, record: Mapping[str, object]) -> None:
    path = _record_path(name)
    try:
        make_private(home())
        path.parent.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot create {path.parent}: {error.strerror or error}", path=path.parent
        ) from error
    with atomic_write(path) as file:
        file.write(json.dumps(record, indent=2, ensure_ascii=False).encode())


def _recorded() -> Iterator[Installed]:
    """Yield the models with a record and a file, which may be damaged."""
    for path in sorted((home() / "models").glob("*.json")):
        try:
            model = _from_record(path, json.loads(read_regular(path, _MAX_RECORD_SIZE)))
            if model.path.is_file():
                yield model
        except FileNotFoundError:
            # Another process has removed it.
            continue
        except (OSError, ValueError, KeyError, RecursionError, ModelError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(
                f"cannot use the record {path} ({reason}); remove it", path=path
            ) from error


def _is_complete(model: Installed) -> bool:
    try:
        return model.path.stat().st_size == model.size
    except OSError:
        return False


def _recorded_files() -> set[tuple[str, str]]:
    """Return the repository and file of each cached file that has a record."""
    files = [model.cached for model in _recorded() if model.cached]
    return {(cached.repository, cached.file) for cached in files}


def _from_record(path: Path, record: Any) -> Installed:
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    strings: dict[str, Any] = {key: record.get(key) for key in _TEXT_KEYS}
    if any(not isinstance(value, str | None) for value in strings.values()):
        raise ValueError("one of its strings is not a string")
    if strings["sha256"] is not None and not _SHA256.fullmatch(strings["sha256"]):
        raise ValueError("its SHA-256 is not valid")
    size = record.get("size")
    if type(size) is not int or not 0 <= size < _MAX_MODEL_SIZE:
        raise ValueError("its size is not valid")
    if strings["name"] is None or strings["source"] is None:
        raise ValueError("name or source is missing")
    check_name(strings["name"])
    cached = None
    if "file" in record:
        file = record["file"]
        if not isinstance(file, str) or not is_safe(file):
            raise ValueError("its file is outside the cache")
        cached = cached_file(
            check_name(strings["source"]), check_name(str(strings["revision"])), file
        )
    return Installed(
        **strings,
        path=cached.path if cached else path.with_suffix(".gguf"),
        size=size,
        last_used=path.stat().st_mtime,
        cached=cached,
    )


def _from_cache(cached: CachedFile) -> Installed | None:
    from jlocal.models.profile import read_profile

    try:
        profile = read_profile(cached.path)
    except ModelError:
        return None
    name = canonical(f"{cached.repository}:{_weight_type(cached)}")
    model = published_model(name)
    return Installed(
        name=name,
        path=cached.path,
        size=profile.header.file_size,
        sha256=cached.sha256,
        source=cached.repository,
        revision=cached.revision,
        license=profile.license or (model.license if model else None),
        task=profile.task or (model.task if model else None),
        type=_weight_type(cached),
        cached=cached,
    )


def _weight_type(cached: CachedFile) -> str:
    """Return the type in a file's name, or the whole name if it has no type."""
    return type_in(cached.file) or Path(cached.file).stem


def _names(cached: CachedFile) -> set[str]:
    stem = Path(cached.file).stem
    return {
        canonical(f"{cached.repository}:{word}").casefold() for word in (_weight_type(cached), stem)
    }
