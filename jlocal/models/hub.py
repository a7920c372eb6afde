"""Files from the model hub into huggingface_hub's cache, checked before they count."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jlocal.errors import HubError, ModelError, NotPublishedError, OutputError
from jlocal.files import sha256_of
from jlocal.gguf.header import read_header
from jlocal.locations import make_private
from jlocal.models.cache import Cached, cached_file, is_safe
from jlocal.models.catalogue import Reference, choose, gguf_files, type_in
from jlocal.models.listing import Listing, explain, read_listing
from jlocal.models.locks import OnWait, locked
from jlocal.models.parts import lock_of, part_of, sweep_old_parts
from jlocal.models.transfer import OnBytes, TooLongError, fetch
from jlocal.outputs.atomic import atomic_write
from jlocal.printable import printable

_SPARE = 16 << 20
_MOST_NAMED = 20


@dataclass(frozen=True)
class Remote:
    """One file of a repository, as the hub describes it.

    Attributes:
        revision: the commit, in hexadecimal.
        branch: the branch or tag whose newest commit that is, or None.
        size: in bytes.
        digest: SHA-256, or git's SHA-1 of a small file, in hexadecimal.

    """

    repository: str
    revision: str
    branch: str | None
    file: str
    size: int
    digest: str
    license: str | None

    @property
    def cached(self) -> Cached:
        """Where the cache keeps it, whether it is there or not."""
        return cached_file(self.repository, self.revision, self.file)

    @property
    def blob(self) -> Path:
        """The file itself in the cache."""
        return self.cached.path_of_repository / "blobs" / self.digest

    @property
    def is_here(self) -> bool:
        """Whether the cache has it, unchecked."""
        return self.blob.exists() or self.cached.path.is_file()


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
            listing = read_listing(repository, revision)
        except NotPublishedError as error:
            absent.append(error)
            continue
        try:
            if file := choose(listing.entries, reference):
                return remote(listing, file, revision)
        except NotPublishedError as error:
            split = error
        types |= {type_in(name) or Path(name).stem for name in gguf_files(listing.entries)}
    if len(absent) == len(reference.repositories):
        # A revision that is not there is no reason to convert another one.
        first = absent[0]
        raise (HubError(first.message, repository=first.repository) if revision else first)
    if split:
        raise split
    there = f"there are {_some(types)}" if types else "there is no GGUF file at all"
    raise NotPublishedError(
        f"{reference.name} is not published; {there}",
        repository=reference.repositories[0],
        types=tuple(sorted(types)),
    )


def remote(listing: Listing, name: str, revision: str | None) -> Remote:
    """Describe a file of a listing that was asked for by branch, tag or commit.

    Raises:
        HubError: it cannot be downloaded and checked.

    """
    file = listing.file(name)
    branch = "main" if revision is None else revision
    return Remote(
        listing.repository,
        listing.commit,
        branch if branch != listing.commit and is_safe(branch) else None,
        file.name,
        file.size,
        file.digest,
        listing.license,
    )


def download(
    remote: Remote, *, show_progress: bool = False, on_wait: OnWait | None = None
) -> Cached:
    """Bring a file into huggingface_hub's cache; what is there already is checked and kept.

    What a broken connection leaves is used by the next call. The file gets its name in the cache
    only when its size and digest are right, and the header of a GGUF file.

    Args:
        remote: the file.
        show_progress: show a bar on stderr.
        on_wait: called once if another process is downloading the same file, which is waited for.

    Raises:
        HubError: it cannot be downloaded, or is not what the hub promised.
        OutputError: the disk cannot take it.

    """
    blob = remote.blob
    sweep_old_parts()
    try:
        make_private(blob.parent)
        # Two at once: the second waits, and finds the file.
        with locked(lock_of(blob), on_wait):
            fresh = not _is_right(remote, blob) and not _is_right(remote, remote.cached.path)
            if fresh:
                _fetch(remote, blob, show_progress=show_progress)
            _link(remote, blob, fresh=fresh)
            return remote.cached
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        what = "make room" if full else "see to it"
        raise OutputError(
            f"cannot write {remote.file} to {blob.parent}: {error.strerror or error}; {what}, or "
            "set HF_HOME to a folder on another disk, and run it again"
        ) from error


def _some(names: set[str]) -> str:
    shown = [printable(name)[:80] for name in sorted(names)]
    more = f" and {len(shown) - _MOST_NAMED:,} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more


def _fetch(remote: Remote, blob: Path, *, show_progress: bool) -> None:
    """Download to a file beside the blob, going on with what is there of it."""
    from huggingface_hub import constants

    part = part_of(blob)
    url = (
        f"{constants.ENDPOINT}/{quote(remote.repository)}/resolve/{remote.revision}/"
        f"{quote(remote.file)}"
    )
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
        try:
            with _bar(remote, have, show=show_progress) as on_bytes:
                fetch(url, file, remote.size, on_bytes)
        except TooLongError as error:
            part.unlink()
            raise HubError(
                f"{remote.file} of {remote.repository} {error} and was removed; run it again, "
                "and tell the hub if it happens twice",
                repository=remote.repository,
            ) from error
        except HubError as error:
            message = explain(error, remote.repository, remote.revision)
            raise HubError(message, repository=remote.repository) from error
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
    if (digest := _digest_of(part, remote.digest)) != remote.digest:
        name = "SHA-256" if len(digest) == 64 else "SHA-1"
        raise HubError(
            f"{where} came with the {name} {digest[:12]}… instead of {remote.digest[:12]}… and "
            "was removed; run it again, and tell the hub if it happens twice",
            repository=remote.repository,
        )
    if not remote.file.casefold().endswith(".gguf"):
        return
    try:
        read_header(part)
    except ModelError as error:
        reason = error.message.replace(str(error.path), where)
        raise HubError(f"{reason}; it was removed", repository=remote.repository) from error


def _is_right(remote: Remote, path: Path) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == remote.size
        and _digest_of(path, remote.digest) == remote.digest
    )


def _digest_of(path: Path, like: str) -> str:
    """Compute the digest of a file in the way of another one."""
    if len(like) == 64:
        return sha256_of(path)
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _link(remote: Remote, blob: Path, *, fresh: bool) -> None:
    """Give the file its place in the revision, as huggingface_hub would."""
    from huggingface_hub import constants

    path = remote.cached.path
    if blob.exists():
        if path.exists() and not path.samefile(blob) and not _is_right(remote, path):
            # A cache without links has copies, and this one is damaged.
            path.unlink()
        if not path.exists():
            # A link may be there that leads nowhere.
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if getattr(constants, "HF_HUB_DISABLE_SYMLINKS", False):
                    raise OSError(errno.EPERM, "links are switched off")
                path.symlink_to(os.path.relpath(blob, path.parent))
            except (OSError, NotImplementedError):
                _place(blob, path, fresh=fresh)
    if remote.branch:
        # So that others who ask the cache for this repository find what is here.
        refs = remote.cached.path_of_repository / "refs" / remote.branch
        refs.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(refs) as file:
            file.write(remote.revision.encode())


def _place(blob: Path, path: Path, *, fresh: bool) -> None:
    """Put the file where no link can be."""
    if fresh:
        blob.replace(path)
        return
    with atomic_write(path) as copy, blob.open("rb") as source:
        shutil.copyfileobj(source, copy, 1 << 20)


@contextmanager
def _bar(remote: Remote, have: int, *, show: bool) -> Iterator[OnBytes | None]:
    """Show how far a download has come, unless HF_HUB_DISABLE_PROGRESS_BARS is set."""
    from huggingface_hub.utils import tqdm

    if not show:
        yield None
        return
    name = remote.file.rpartition("/")[2]
    bar: Any = tqdm(
        desc=name, total=remote.size, initial=have, unit="B", unit_scale=True, dynamic_ncols=True
    )
    try:
        yield bar.update
    finally:
        bar.close()
