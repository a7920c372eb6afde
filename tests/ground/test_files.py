"""Reading regular files only."""

import errno
import os
import socket
from pathlib import Path

import pytest

from jlocal.files import open_regular, read_regular, unwritable


def test_a_regular_file_and_a_link_to_it_are_opened(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read(3) == b"con"
            assert file.seek(0, os.SEEK_END) == 7


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name in ("pipe", "zero", "socket"):
            with pytest.raises(OSError, match="it is not a regular file"):
                open_regular(tmp_path / name)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")
    with pytest.raises(OSError, match="loop"):
        open_regular(tmp_path / "loop")


def test_a_file_that_is_replaced_by_a_pipe_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    before = path.stat()
    path.unlink()
    os.mkfifo(path)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(Path, "stat", lambda _: before)
    with pytest.raises(OSError, match="it is not a regular file"):
        open_regular(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_reading_is_bounded(tmp_path) -> None:
    path = Path(tmp_path / "file")
    path.write_bytes(b"x" * 10)
    assert read_regular(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="more than 9 bytes") as caught:
        read_regular(path, 9)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.EROFS, "; name another"),
        (errno.EACCES, "; name another"),
        (errno.ENOSPC, "; make room and run it again"),
        (errno.ENOENT, "; make its folder first"),
        (errno.EIO, ""),
    ],
)
def test_what_cannot_be_written_has_a_next_step(number: int, step: str) -> None:
    error = OSError(number, os.strerror(number))
    assert unwritable(error, "name another") == f"{os.strerror(number)}{step}"
    assert unwritable(OSError("torn"), "name another") == "torn"
