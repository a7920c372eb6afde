"""The first load of a GGUF file, in a child process.

On files that it does not expect, llama.cpp ends its process by an assertion or an uncaught
exception. So a child process, which may crash, is the first to load a file. The identity on disk
of a file that has passed is recorded, so that later loads cost nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import stat
from importlib.metadata import version
from pathlib import Path

from jlocal import child
from jlocal.errors import ModelError, OutputError
from jlocal.files import sha256_of
from jlocal.llama.kernels import identity as kernels_identity
from jlocal.locations import cache_folder, make_private
from jlocal.models.profile import Profile
from jlocal.models.starter import FILE as STARTER
from jlocal.outputs.atomic import atomic_write
from jlocal.printable import printable

REFUSED = 3  # the child's exit status when its output is the reason

# The model that comes with jlocal was tried before its release.
_STARTER = "9e855971702300faee40ad5ae2a93ffc8ea13d41f49c55938c22f168f03c6da7"

# Enough for a large file on a slow disk, and an end for a file that is made never to load.
_LIMITS = child.Limits(seconds=600, output=1 << 20)

_LONGEST_REASON = 300

_MOST_RECORDS = 1000


def try_once(profile: Profile, kernels: str) -> None:
    """Compute with a file in a child process, unless it has passed before.

    Args:
        profile: the profile of the file.
        kernels: the compute type of jlocal's own kernels that are to compute; "" for llama.cpp's.

    Raises:
        ModelError: llama.cpp refuses the file, or ends the process that loads it.

    """
    identity = _identity(profile.path)
    # Several installations of jlocal share this folder, and each has its own llama.cpp.
    programs = version("llama-cpp-python"), kernels_identity()
    subject = os.fsencode(profile.path.absolute()), kernels, *programs
    name = hashlib.sha256(repr(subject).encode()).hexdigest()
    record = cache_folder() / "loaded" / name
    if _recorded(record) == identity:
        return
    if not _is_starter(profile.path):
        _try(profile, kernels)
    _remember(record, identity)


def _try(profile: Profile, kernels: str) -> None:
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    try:
        done = child.run(
            "jlocal.llama.trial_child",
            str(profile.path),
            profile.pooling,
            kernels or "stored",
            limits=_LIMITS,
            environment=environment,
        )
    except (OSError, TimeoutError) as error:
        raise ModelError(
            f"cannot try {profile.path} in a child process: "
            f"{getattr(error, 'strerror', None) or error}",
            path=profile.path,
        ) from error
    if done.status == 0:
        return
    if done.status == REFUSED:
        raise ModelError(_short(done.stdout.decode(errors="replace"), 3 * _LONGEST_REASON))
    if done.status == -getattr(signal, "SIGILL", 0):
        raise ModelError(
            "llama.cpp uses instructions that this CPU does not have; `jlocal doctor` tells how to "
            "build it again"
        )
    if done.status == -getattr(signal, "SIGKILL", 0):
        raise ModelError(
            f"the system killed the process that tried {profile.path}, probably for lack of "
            "memory; close other programs, or use a smaller model",
            path=profile.path,
        )
    raise ModelError(
        f"llama.cpp crashes when it loads {profile.path}: {_last_words(done)}; download or "
        "convert the model again",
        path=profile.path,
    )


def _last_words(done: child.Finished) -> str:
    """Return the reason from the stderr of a crashed process."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    for pattern in (r"[^/\\]*: (GGML_ASSERT\(.*)", r"what\(\): *(.*)", r"[^/\\]*\.\w+:\d+: (.*)"):
        for line in lines:
            if match := re.search(pattern, line):
                return _short(match[1])
    if done.status < 0:
        with contextlib.suppress(ValueError):
            return f"the process ended with {signal.Signals(-done.status).name}"
    return _short(lines[-1]) if lines else f"the process ended with status {done.status}"


def _short(text: str, longest: int = _LONGEST_REASON) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= longest else f"{text[:longest]}…"


def _is_starter(path: Path) -> bool:
    try:
        return path.samefile(STARTER) and sha256_of(path) == _STARTER
    except OSError:
        return False


# The record of files that have passed: for each path and llama.cpp, the identity of that time.


def _identity(path: Path) -> bytes:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", path=path) from error
    facts = (
        os.path.realpath(path),
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest().encode()


def _recorded(record: Path) -> bytes | None:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(OSError):
        descriptor = os.open(record, flags)
        try:
            status = os.fstat(descriptor)
            own = getattr(os, "getuid", lambda: status.st_uid)()
            if stat.S_ISREG(status.st_mode) and status.st_uid == own:
                return os.read(descriptor, 128)
        finally:
            os.close(descriptor)
    return None


def _remember(record: Path, identity: bytes) -> None:
    # Without a record, the file is tried again next time.
    with contextlib.suppress(OSError, OutputError):
        make_private(record.parent)
        with atomic_write(record, follow_link=False) as file:
            file.write(identity)
        _forget_oldest(record.parent)


def _forget_oldest(folder: Path) -> None:
    """Keep the folder small, which still holds the records of deleted files."""
    with os.scandir(folder) as entries:
        records = [(entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries]
    if len(records) > _MOST_RECORDS:
        for _, path in sorted(records)[: -_MOST_RECORDS // 2]:
            Path(path).unlink(missing_ok=True)
