"""GGUF files from the model hub into huggingface_hub's cache, checked before they count."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jlocal.errors import HubError, ModelError, NotPublishedError, OutputError
from jlocal.files import sha256_of, write_aside
from jlocal.models.cache import Cached, cached_file
from jlocal.models.catalogue import Reference, choose, gguf_files, type_in
from jlocal.models.header import read_header
from jlocal.models.offline import is_offline

_T = TypeVar("_T")

_RETRIES, _LONGEST_WAIT = 5, 30
_SPARE = 16 << 20


@dataclass(frozen=True)
class Remote:
    """One file of a repository, as the hub describes it.

    Attributes:
        revision: the commit, in hexadecimal.
        branch: whether that is the newest one of the main branch.
        size: in bytes.
        sha256: in hexadecimal.

    """

    repository: str
    revision: str
    branch: bool
    file: str
    size: int
    sha256: str
    license: str | None

    @property
    def cached(self) -> Cached:
        """Where the cache keeps it, whether it is there or not."""
        return cached_file(self.repository, self.revision, self.file)

    @property
    def blob(self) -> Path:
        """The file itself in the cache."""
        return self.cached.path_of_repository / "blobs" / self.sha256


def locate(reference: Reference, revision: str | None = None) -> Remote:
    """Ask the hub for the file of a model.

    Raises:
        NotPublishedError: there is no file of this type.
        HubError: the hub cannot be reached, or does not have the model.

    """
    absent: list[NotPublishedError] = []
    split: NotPublishedError | None = None
    types: set[str] = set()
    for repository in reference.repositories:
        try:
            info = describe(repository, revision)
        except NotPublishedError as error:
            absent.append(error)
            continue
        files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        try:
            if file := choose(files, reference):
                return _remote(repository, revision, info, files[file])
        except NotPublishedError as error:
            split = error
        types |= {type_in(name) or Path(name).stem for name in gguf_files(files)}
    if len(absent) == len(reference.repositories):
        # A revision that is not there is no reason to convert another one.
        raise (HubError(str(absent[0])) if revision else absent[0])
    if split:
        raise split
    there = f"there are {', '.join(sorted(types))}" if types else "there is no GGUF file at all"
    raise NotPublishedError(f"{reference.name} is not published; {there}")


def describe(repository: str, revision: str | None = None) -> Any:
    """Ask the hub for the listing of a repository: a ModelInfo with sizes and hashes.

    Raises:
        NotPublishedError: it has no such repository or revision.
        HubError: it cannot be reached, or refuses.

    """
    if is_offline():
        raise HubError(f"cannot ask for {repository}: this machine is set to be offline")
    from huggingface_hub import HfApi, errors

    try:
        return _patiently(
            lambda: HfApi().model_info(repository, revision=revision, files_metadata=True)
        )
    except Exception as error:
        message = explain(error, repository, revision)
        absent = errors.RepositoryNotFoundError | errors.RevisionNotFoundError
        if isinstance(error, absent) and not isinstance(error, errors.GatedRepoError):
            raise NotPublishedError(message) from error
        raise HubError(message) from error


def download(remote: Remote, *, show_progress: bool = False) -> Cached:
    """Bring a file into huggingface_hub's cache; what is there already is checked and kept.

    What a broken connection leaves is used by the next call. The file gets its name in the cache
    only when its size, SHA-256 and header are right.

    Raises:
        HubError: it cannot be downloaded, or is not what the hub promised.
        OutputError: the disk cannot take it.

    """
    from huggingface_hub.utils import WeakFileLock

    blob = remote.blob
    locks = blob.parents[2] / ".locks" / blob.parents[1].name
    try:
        blob.parent.mkdir(parents=True, exist_ok=True)
        locks.mkdir(parents=True, exist_ok=True)
        # Two at once: the second waits, and finds the file.
        with _quiet_hub(show_progress), WeakFileLock(locks / f"{remote.sha256}.jlocal.lock"):
            if not (blob.exists() and sha256_of(blob) == remote.sha256):
                _fetch(remote, blob)
            return _link(remote, blob)
    except (HubError, OutputError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise OutputError(
                f"cannot write {remote.file} to {blob.parent}: {error.strerror}; make room, or "
                "set HF_HOME to a folder on another disk, and run it again"
            ) from error
        raise HubError(explain(error, remote.repository, remote.revision)) from error


def explain(error: Exception, repository: str, revision: str | None) -> str:
    """Put a failure of huggingface_hub into one line that says what to do."""
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{repository} is gated: accept its terms at {endpoint}/{repository}, and set HF_TOKEN"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} has no revision {revision!r}; leave it out for the newest"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the hub has no model {repository}; check the name, or set HF_TOKEN if it is private"
        )
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return f"{repository} no longer has the file; run it again to see what there is"
    status = _status(error)
    if status in (401, 403):
        return f"{endpoint} refuses {repository} (status {status}); check HF_TOKEN"
    if status == 429:
        return f"{endpoint} gets too many requests from here; wait some minutes, or set HF_TOKEN"
    if status:
        return f"{endpoint} answers {repository} with status {status}; try again later"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"cannot download {repository} from {endpoint}: {reason}; check the connection and run "
        "it again, which goes on where it stopped"
    )


def _remote(repository: str, revision: str | None, info: Any, sibling: Any) -> Remote:
    """Take what is needed of the hub's answer, which may be anything."""
    lfs = sibling.lfs
    sha256 = str(lfs.sha256) if lfs else ""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise HubError(f"the hub names no SHA-256 for {sibling.rfilename}; it cannot be checked")
    parts = sibling.rfilename.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\\" in sibling.rfilename:
        raise HubError(f"the hub offers a file with the unusable name {sibling.rfilename!r}")
    commit = str(info.sha)
    if len(commit) != 40 or not set(commit) <= set("0123456789abcdef"):
        raise HubError(f"the hub names no commit of {repository}")
    return Remote(
        repository,
        commit,
        revision in (None, "main"),
        sibling.rfilename,
        int(lfs.size),
        sha256,
        license_of(info),
    )


def license_of(info: Any) -> str | None:
    """Return the licence that a model card names."""
    licence = getattr(info.card_data, "license", None) if info.card_data else None
    return licence if isinstance(licence, str) else None


def _fetch(remote: Remote, blob: Path) -> None:
    """Download to a file beside the blob, going on with what is there of it."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    part = blob.with_name(f"{blob.name}.jlocal.incomplete")
    with part.open("ab") as file:
        if file.tell() > remote.size:
            file.truncate(0)
        have = file.tell()
        free = shutil.disk_usage(part.parent).free
        if free < remote.size - have + _SPARE:
            raise OutputError(
                f"{remote.file} needs {(remote.size - have) / 1e6:,.0f} MB and {part.parent} has "
                f"{free / 1e6:,.0f} MB free; make room, or set HF_HOME to a folder on another disk"
            )
        if have < remote.size:
            http_get(
                hf_hub_url(remote.repository, remote.file, revision=remote.revision),
                file,
                resume_size=have,
                headers=build_hf_headers(),
                expected_size=remote.size,
                displayed_filename=remote.file,
            )
        file.flush()
        os.fsync(file.fileno())
    try:
        _check(remote, part)
    except HubError:
        part.unlink()
        raise
    part.replace(blob)


def _check(remote: Remote, part: Path) -> None:
    where = f"{remote.file} of {remote.repository}"
    if (size := part.stat().st_size) != remote.size:
        raise HubError(
            f"{where} came with {size:,} bytes instead of {remote.size:,} and was removed; "
            "run it again"
        )
    if (sha256 := sha256_of(part)) != remote.sha256:
        raise HubError(
            f"{where} came with the SHA-256 {sha256[:12]}… instead of {remote.sha256[:12]}… and "
            "was removed; run it again, and tell the hub if it happens twice"
        )
    try:
        read_header(part)
    except ModelError as error:
        reason = str(error).removeprefix(f"{part} ").rpartition(";")[0]
        raise HubError(f"{where} {reason}; it was removed") from error


def _link(remote: Remote, blob: Path) -> Cached:
    """Let huggingface_hub give the file its place in the revision."""
    from huggingface_hub import hf_hub_download

    cached = remote.cached
    if cached.path.is_file() and not cached.path.samefile(blob):
        # A cache without links has copies, and this one may be damaged.
        cached.path.unlink()
    if not cached.path.is_file():
        hf_hub_download(remote.repository, remote.file, revision=remote.revision)
    if not cached.path.samefile(blob):
        if cached.path.stat().st_size != remote.size or sha256_of(cached.path) != remote.sha256:
            cached.path.unlink()
            raise HubError(f"{remote.file} of {remote.repository} changed meanwhile; run it again")
        blob.unlink()
    if remote.branch:
        # So that others who ask the cache for this repository find what is here.
        refs = cached.path_of_repository / "refs" / "main"
        refs.parent.mkdir(exist_ok=True)
        with write_aside(refs) as file:
            file.write(remote.revision.encode())
    return cached


def _patiently(call: Callable[[], _T]) -> _T:
    """Call the hub, and again after a while when it asks for that."""
    for attempt in range(_RETRIES):
        try:
            return call()
        except Exception as error:
            if _status(error) not in (408, 429, 500, 502, 503, 504):
                raise
            headers = getattr(getattr(error, "response", None), "headers", {})
            asked = str(headers.get("Retry-After", ""))
            time.sleep(min(int(asked) if asked.isdecimal() else 2**attempt, _LONGEST_WAIT))
    return call()


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


@contextmanager
def hub_progress(show: bool) -> Iterator[None]:
    """Show the hub's progress bars or not."""
    from huggingface_hub import utils

    if show or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


@contextmanager
def _quiet_hub(show_progress: bool) -> Iterator[None]:
    """Keep the hub's own lines back: what went wrong at last is said in one."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with hub_progress(show_progress):
            yield
    finally:
        with suppress(ValueError):
            logging.set_verbosity(before)
