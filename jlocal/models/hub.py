"""Downloads from the model hub into huggingface_hub's cache, checked before they get a name."""

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
from jlocal.models.cache import CachedFile, cached_file, is_safe
from jlocal.models.catalogue import Reference, choose, gguf_files, type_in
from jlocal.models.listing import Listing, failure_message, read_listing
from jlocal.models.locks import OnWait, locked
from jlocal.models.parts import lock_path, part_path, remove_old_parts
from jlocal.models.transfer import OnBytes, TooLongError, fetch
from jlocal.outputs.atomic import atomic_write
from jlocal.printable import printable

_DISK_RESERVE = 16 << 20
_MAX_NAMES = 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository on the hub.

    Attributes:
        revision: the commit, in hexadecimal.
        branch: the branch or tag that points to the commit; None if it was asked for by commit.
        size: size in bytes.
        digest: SHA-256, or git's SHA-1 for a small file, in hexadecimal.

    """

    repository: str
    revision: str
    branch: str | None
    file: str
    size: int
    digest: str
    license: str | None

    @property
    def cached(self) -> CachedFile:
        """Its location in the cache, where it need not exist."""
        return cached_file(self.repository, self.revision, self.file)

    @property
    def blob(self) -> Path:
        """The cache's blob that the file of the revision links to."""
        return self.cached.repository_folder / "blobs" / self.digest

    @property
    def is_cached(self) -> bool:
        """Whether the cache holds it; its content is not checked."""
        return self.blob.exists() or self.cached.path.is_file()


def locate(reference: Reference, revision: str | None = None) -> RemoteFile:
    """Ask the hub for the file of a model.

    Raises:
        NotPublishedError: the repository has no file of this type.
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
                return remote_file(listing, file, revision)
        except NotPublishedError as error:
            split = error
        types |= {type_in(name) or Path(name).stem for name in gguf_files(listing.entries)}
    if len(absent) == len(reference.repositories):
        # A revision that is not available is no reason to convert another one.
        first = absent[0]
        raise (HubError(first.message, repository=first.repository) if revision else first)
    if split:
        raise split
    available = f"there are {_join_names(types)}" if types else "there is no GGUF file at all"
    raise NotPublishedError(
        f"{reference.name} is not published; {available}",
        repository=reference.repositories[0],
        types=tuple(sorted(types)),
    )


def remote_file(listing: Listing, name: str, revision: str | None) -> RemoteFile:
    """Return a file of a listing that was requested by branch, tag or commit.

    Raises:
        HubError: the name is not valid on every system, or the size or digest is missing.

    """
    file = listing.file(name)
    branch = "main" if revision is None else revision
    return RemoteFile(
        listing.repository,
        listing.commit,
        branch if branch != listing.commit and is_safe(branch) else None,
        file.name,
        file.size,
        file.digest,
        listing.license,
    )


def download(
    remote: RemoteFile, *, show_progress: bool = False, on_wait: OnWait | None = None
) -> CachedFile:
    """Download a file into huggingface_hub's cache; a file that is cached is checked and kept.

    The next call resumes a broken download. The file gets its name in the cache only after its
    size, its digest and, for GGUF, its header are checked.

    Args:
        remote: the file.
        show_progress: show a progress bar on stderr.
        on_wait: called once if another process is downloading the same file; this call then waits
            for it.

    Raises:
        HubError: the file cannot be downloaded, or differs from the hub's listing.
        OutputError: the file cannot be written to disk.

    """
    blob = remote.blob
    remove_old_parts()
    try:
        make_private(blob.parent)
        # Of two processes, the second waits and then finds the file.
        with locked(lock_path(blob), on_wait):
            is_new = not _is_intact(remote, blob) and not _is_intact(remote, remote.cached.path)
            if is_new:
                _fetch(remote, blob, show_progress=show_progress)
            _link(remote, blob, is_new=is_new)
            return remote.cached
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        advice = "make room" if full else "check the folder"
        raise OutputError(
            f"cannot write {remote.file} to {blob.parent}: {error.strerror or error}; {advice}, or "
            "set HF_HOME to a folder on another disk, and run it again"
        ) from error


def _join_names(names: set[str]) -> str:
    shown = [printable(name)[:80] for name in sorted(names)]
    remainder = f" and {len(shown) - _MAX_NAMES:,} more" if len(shown) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + remainder


def _fetch(remote: RemoteFile, blob: Path, *, show_progress: bool) -> None:
    """Download to a file beside the blob, or resume its download."""
    from huggingface_hub import constants

    part = part_path(blob)
    url = (
        f"{constants.ENDPOINT}/{quote(remote.repository)}/resolve/{remote.revision}/"
        f"{quote(remote.file)}"
    )
    with part.open("ab") as file:
        if file.tell() > remote.size:
            file.truncate(0)
        offset = file.tell()
        free = shutil.disk_usage(part.parent).free
        if free < remote.size - offset + _DISK_RESERVE:
            raise OutputError(
                f"{remote.file} needs {(remote.size - offset) / 1e6:,.0f} MB and {part.parent} has "
                f"{free / 1e6:,.0f} MB free; make room, or set HF_HOME to a folder on another disk"
            )
        try:
            with _bar(remote, offset, show=show_progress) as on_bytes:
                fetch(url, file, remote.size, on_bytes)
        except TooLongError as error:
            part.unlink()
            raise HubError(
                f"{remote.file} of {remote.repository} {error} and was removed; run it again, "
                "and report it to the hub if it happens twice",
                repository=remote.repository,
            ) from error
        except HubError as error:
            message = failure_message(error, remote.repository, remote.revision)
            raise HubError(message, repository=remote.repository) from error
        file.flush()
        os.fsync(file.fileno())
    try:
        _check(remote, part)
    except HubError:
        part.unlink()
        raise
    part.replace(blob)


def _check(remote: RemoteFile, part: Path) -> None:
    source = f"{remote.file} of {remote.repository}"
    if (digest := _digest_of(part, remote.digest)) != remote.digest:
        name = "SHA-256" if len(digest) == 64 else "SHA-1"
        raise HubError(
            f"{source} came with the {name} {digest[:12]}… instead of {remote.digest[:12]}… and "
            "was removed; run it again, and report it to the hub if it happens twice",
            repository=remote.repository,
        )
    if not remote.file.casefold().endswith(".gguf"):
        return
    try:
        read_header(part)
    except ModelError as error:
        reason = error.message.replace(str(error.path), source)
        raise HubError(f"{reason}; it was removed", repository=remote.repository) from error


def _is_intact(remote: RemoteFile, path: Path) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == remote.size
        and _digest_of(path, remote.digest) == remote.digest
    )


def _digest_of(path: Path, expected: str) -> str:
    """Compute the digest of a file, of the same kind as the expected digest."""
    if len(expected) == 64:
        return sha256_of(path)
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _link(remote: RemoteFile, blob: Path, *, is_new: bool) -> None:
    """Link the file into its revision, as huggingface_hub does."""
    from huggingface_hub import constants

    path = remote.cached.path
    if blob.exists():
        if path.exists() and not path.samefile(blob) and not _is_intact(remote, path):
            # A cache without links holds copies, and this copy is damaged.
            path.unlink()
        if not path.exists():
            # It may be a dangling link.
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if getattr(constants, "HF_HUB_DISABLE_SYMLINKS", False):
                    raise OSError(errno.EPERM, "links are switched off")
                path.symlink_to(os.path.relpath(blob, path.parent))
            except (OSError, NotImplementedError):
                _copy_blob(blob, path, is_new=is_new)
    if remote.branch:
        # Other programs find the revision in the cache by its branch.
        refs = remote.cached.repository_folder / "refs" / remote.branch
        refs.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(refs) as file:
            file.write(remote.revision.encode())


def _copy_blob(blob: Path, path: Path, *, is_new: bool) -> None:
    """Move or copy the blob into its revision, where links are not possible."""
    if is_new:
        blob.replace(path)
        return
    with atomic_write(path) as copy, blob.open("rb") as source:
        shutil.copyfileobj(source, copy, 1 << 20)


@contextmanager
def _bar(remote: RemoteFile, offset: int, *, show: bool) -> Iterator[OnBytes | None]:
    """Show a progress bar for a download, unless HF_HUB_DISABLE_PROGRESS_BARS is set."""
    from huggingface_hub.utils import tqdm

    if not show:
        yield None
        return
    name = remote.file.rpartition("/")[2]
    bar: Any = tqdm(
        desc=name, total=remote.size, initial=offset, unit="B", unit_scale=True, dynamic_ncols=True
    )
    try:
        yield bar.update
    finally:
        bar.close()
