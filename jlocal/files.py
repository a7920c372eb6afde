"""Reading untrusted files, only if they are regular files; why a file cannot be written."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    It never waits for a pipe, and never opens a device.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        OSError: it is a pipe, a device or a socket, or cannot be opened.

    """
    # Opening a device may have side effects.
    _check_regular(path, path.stat())
    # It may have been replaced since, and opening a pipe without a writer would block.
    names = ("O_BINARY", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK")
    flags = sum(getattr(os, name, 0) for name in names)
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        _check_regular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises:
        OSError: as of `open_regular`; with errno.EFBIG when the file is larger.

    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def unwritable(error: OSError, elsewhere: str) -> str:
    """Say why a file or folder cannot be written, and what to do.

    Args:
        error: of the system.
        elsewhere: the next step where the folder may not be written, such as "name another folder".

    """
    reason = error.strerror or str(error)
    steps = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), elsewhere)
    steps |= dict.fromkeys(
        (errno.ENOSPC, getattr(errno, "EDQUOT", 0)), "make room and run it again"
    )
    steps[errno.ENOENT] = "make its folder first"
    step = steps.get(error.errno or 0)
    return f"{reason}; {step}" if step else reason


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def sha256_of_set(folder: Path, digests: Mapping[Path, str]) -> str:
    """Return the SHA-256 of the output of `sha256sum`: lines `{hex}  {path}`, sorted by path.

    Args:
        folder: the folder that the paths are relative to.
        digests: SHA-256 of each file.

    """
    names = {file.relative_to(folder).as_posix(): digest for file, digest in digests.items()}
    lines = "".join(f"{names[name]}  {name}\n" for name in sorted(names))
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal.

    Raises:
        OSError: the file cannot be read, or is not a regular file.

    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
