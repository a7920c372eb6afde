"""The models on this machine: what is here, where, and how something is added or removed.

A model is a record and a file. Records are `home()/models/NAME.json`; the file stands beside its
record, or in huggingface_hub's cache. Files of that cache need no record to be found.
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
from jlocal.models.cache import Cached, cached_file, cached_files, free, is_safe, revisions
from jlocal.models.catalogue import canonical, is_split, model_of, type_in
from jlocal.outputs.atomic import atomic_write

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 200
_MAX_RECORD, _MAX_SIZE = 64 << 10, 1 << 62
_TEXTS = ("name", "source", "revision", "sha256", "license", "task", "type")


@dataclass(frozen=True)
class Installed:
    """A model on this machine.

    Attributes:
        name: as a user types it, such as "small-retrieval:Q8_0".
        path: the GGUF file.
        size: in bytes.
        sha256: in hexadecimal; None where nobody has recorded it.
        source: "owner/repo", "bundle" or "convert".
        revision: the commit of the repository, where there is one.
        license: of the weights, as the hub or the header says it.
        task: such as "retrieval", where it is known.
        type: of its weights, such as "Q8_0".
        used: when its name was last used, in seconds since 1970, where it is known.

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
    used: float | None = None
    cached: Cached | None = field(default=None, repr=False)


def installed() -> list[Installed]:
    """List the models on this machine, by name; nothing but the disk is read.

    Files that are no GGUF, and parts of split ones, are left out.

    Raises:
        ModelError: a record cannot be read.

    """
    models = [model for model in _recorded() if _is_whole(model)]
    covered = _covered()
    for cached in cached_files():
        if not is_split(cached.file) and (cached.repository, cached.file) not in covered:
            models += filter(None, [_unrecorded(cached)])
    return sorted(models, key=lambda model: model.name.casefold())


def find(name: str) -> Installed | None:
    """Find a model by its name, in any case and any of its spellings.

    Raises:
        ModelError: a record cannot be read.

    """
    wanted = canonical(name).casefold()
    for model in _recorded():
        if model.name.casefold() == wanted and _is_whole(model):
            return model
    covered = _covered()
    for cached in cached_files():
        if is_split(cached.file) or (cached.repository, cached.file) in covered:
            continue
        if wanted in _names(cached) and (other := _unrecorded(cached)):
            return other
    return None


def damaged(name: str) -> Installed | None:
    """Find a model that has a record, and a file of another size than the record says.

    Raises:
        ModelError: a record cannot be read.

    """
    wanted = canonical(name).casefold()
    return next((m for m in _recorded() if m.name.casefold() == wanted and not _is_whole(m)), None)


def at(path: Path) -> Installed | None:
    """Find the model whose file this is, by any path to it.

    Raises:
        ModelError: a record cannot be read.

    """
    real = os.path.realpath(path)
    for model in _recorded():
        if os.path.realpath(model.path) == real:
            return model
    cached = next((one for one in cached_files() if os.path.realpath(one.path) == real), None)
    return _unrecorded(cached) if cached else None


def adopt(staged: Path, record: Mapping[str, object], *, replace: bool = False) -> Installed:
    """Move a checked GGUF file into place, with its record, in one step.

    Args:
        staged: a file on the file system of `home()`; it is gone afterwards.
        record: at least `name` and `source` of `Installed`, and what else is known of it.
        replace: take the place of a different file of the same name.

    Raises:
        ModelError: the name cannot be used, or a different file has it already.
        OutputError: the disk cannot take it.

    """
    texts = {key: record[key] for key in _TEXTS if record.get(key) is not None}
    name = texts["name"] = check_name(canonical(str(texts["name"])))
    try:
        sha256 = str(texts.get("sha256") or sha256_of(staged))
        there = find(name)
        if there is not None and there.cached is None and not replace:
            if (there.sha256 or sha256_of(there.path)) != sha256:
                raise ModelError(
                    f"a different {there.name} is on this machine; `jlocal rm {there.name}` first"
                )
            staged.unlink()
            return there
        facts = texts | {"sha256": sha256, "size": staged.stat().st_size}
        target = _record_path(name).with_suffix(".gguf")
        # The file counts from the moment at which both are there, so nothing half-done is listed.
        _write(name, facts)
        staged.replace(target)
    except OSError as error:
        raise OutputError(f"cannot keep {name}: {error.strerror or error}") from error
    return _from_record(_record_path(name), facts)


def pin(cached: Cached, name: str, record: Mapping[str, object]) -> Installed:
    """Record which file of the hub's cache a name means.

    Raises:
        ModelError: the name cannot be used.
        OutputError: the record cannot be written.

    """
    facts = {key: record[key] for key in _TEXTS if record.get(key) is not None}
    name = check_name(canonical(name))
    facts |= {
        "name": name,
        "source": cached.repository,
        "revision": cached.revision,
        "file": cached.file,
        "size": cached.path.stat().st_size,
    }
    _write(name, facts)
    return _from_record(_record_path(name), facts)


def remove(model: Installed) -> None:
    """Remove a model, free what it takes on disk, and forget the vector that came with it.

    Raises:
        OutputError: it cannot be removed.

    """
    try:
        _record_path(model.name).unlink(missing_ok=True)
        if model.cached:
            for cached in revisions(model.cached):
                free(cached)
        else:
            model.path.unlink(missing_ok=True)
        if model.sha256 and all(other.sha256 != model.sha256 for other in _recorded()):
            vector_file(model.sha256).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {model.name}: {error.strerror or error}") from error


def mark_used(model: Installed) -> None:
    """Remember that a model is used now."""
    # A folder that only others may write to is no reason not to embed.
    with suppress(OSError):
        os.utime(_record_path(model.name), (time.time(), time.time()))


def vector_file(sha256: str) -> Path:
    """Say where the vector is kept that another machine made with a model file of a bundle."""
    return home() / "checks" / f"{sha256}.json"


def lock_file(name: str) -> Path:
    """Say which file is locked while a model is made here."""
    return home() / ".locks" / _record_path(name).with_suffix(".lock").name


def check_name(name: str) -> str:
    """Return the name, which is safe as part of a path.

    Raises:
        ModelError: it is not.

    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or ".." in name:
        raise ModelError(f"{name[:80]!r} cannot be the name of a model")
    return name


def _record_path(name: str) -> Path:
    plain = check_name(name).replace("/", "--").replace(":", "-")
    return home() / "models" / f"{plain}.json"


def _write(name: str, facts: Mapping[str, object]) -> None:
    path = _record_path(name)
    try:
        make_private(home())
        path.parent.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {path.parent}: {error.strerror or error}", path=path.parent
        ) from error
    with atomic_write(path) as file:
        file.write(json.dumps(facts, indent=2, ensure_ascii=False).encode())


def _recorded() -> Iterator[Installed]:
    """Yield the models whose record and file are both there, damaged ones as well."""
    for path in sorted((home() / "models").glob("*.json")):
        try:
            model = _from_record(path, json.loads(read_regular(path, _MAX_RECORD)))
            if model.path.is_file():
                yield model
        except FileNotFoundError:
            # Removed by another process meanwhile.
            continue
        except (OSError, ValueError, KeyError, RecursionError, ModelError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(
                f"cannot use the record {path} ({reason}); remove it", path=path
            ) from error


def _is_whole(model: Installed) -> bool:
    try:
        return model.path.stat().st_size == model.size
    except OSError:
        return False


def _covered() -> set[tuple[str, str]]:
    """Name the files of the hub's cache that have a record: repository and file."""
    cached = [model.cached for model in _recorded() if model.cached]
    return {(one.repository, one.file) for one in cached}


def _from_record(path: Path, facts: Any) -> Installed:
    if not isinstance(facts, dict):
        raise ValueError("it is not a JSON object")
    texts: dict[str, Any] = {key: facts.get(key) for key in _TEXTS}
    if any(not isinstance(value, str | None) for value in texts.values()):
        raise ValueError("one of its texts is not text")
    if texts["sha256"] is not None and not _SHA256.fullmatch(texts["sha256"]):
        raise ValueError("its SHA-256 is not one")
    size = facts.get("size")
    if type(size) is not int or not 0 <= size < _MAX_SIZE:
        raise ValueError("its size is not one")
    if texts["name"] is None or texts["source"] is None:
        raise ValueError("name or source is missing")
    check_name(texts["name"])
    cached = None
    if "file" in facts:
        file = facts["file"]
        if not isinstance(file, str) or not is_safe(file):
            raise ValueError("its file leaves the cache")
        cached = cached_file(check_name(texts["source"]), check_name(str(texts["revision"])), file)
    return Installed(
        **texts,
        path=cached.path if cached else path.with_suffix(".gguf"),
        size=size,
        used=path.stat().st_mtime,
        cached=cached,
    )


def _unrecorded(cached: Cached) -> Installed | None:
    from jlocal.models.profile import read_profile

    try:
        profile = read_profile(cached.path)
    except ModelError:
        return None
    name = canonical(f"{cached.repository}:{_type(cached)}")
    model = model_of(name)
    return Installed(
        name=name,
        path=cached.path,
        size=profile.header.file_size,
        sha256=cached.sha256,
        source=cached.repository,
        revision=cached.revision,
        license=profile.license or (model.license if model else None),
        task=profile.task or (model.task if model else None),
        type=_type(cached),
        cached=cached,
    )


def _type(cached: Cached) -> str:
    """Return the type in a file's name, or all of the name where it says none."""
    return type_in(cached.file) or Path(cached.file).stem


def _names(cached: Cached) -> set[str]:
    stem = Path(cached.file).stem
    return {canonical(f"{cached.repository}:{word}").casefold() for word in (_type(cached), stem)}
