"""Bundles from hostile hands: one line each, and nothing is written."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jlocal.bundle.standalone import END, MANIFEST, header
from support.bundles import MEMBERS, MODEL, files_in, manifest, member, pack, run, sha256


def other(kind: bytes, name: str = "models/tiny.gguf", size: int = 0, link: str = "") -> bytes:
    """Return a header that tarfile writes."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, size, link, 0o644
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def instead(block: bytes, data: bytes = b"") -> bytes:
    """Return a bundle in which a member's header is another."""
    first = {"LICENSE": MEMBERS["LICENSE"]}
    # As long as the sound one, so that it is not taken for one that was cut off.
    return pack(manifest(), first, member("", data, block)).ljust(len(pack()), b"\0")


def listed(**changes: Any) -> bytes:
    """Return a bundle whose manifest describes the model in another way."""
    value = manifest()
    value["members"][1] |= changes
    return pack(value)


def named(path: str) -> bytes:
    """Return a bundle with a member of this path, in the manifest as well."""
    value = manifest()
    value["members"].append({"path": path, "size": 1, "sha256": sha256(b"x")})
    info = tarfile.TarInfo(path)
    info.size = 1
    return pack(value, MEMBERS, member("", b"x", info.tobuf(tarfile.GNU_FORMAT)))


def pax(**headers: str) -> bytes:
    info = tarfile.TarInfo("models/tiny.gguf")
    info.size, info.pax_headers = len(MODEL), headers
    return info.tobuf(tarfile.PAX_FORMAT)


def prefixed() -> bytes:
    """Return the right header with a folder that goes before the name."""
    block = header("models/tiny.gguf", len(MODEL))
    block = block[:345] + b"../..".ljust(167, b"\0")
    total = sum(block[:148] + 8 * b" " + block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def long_name() -> bytes:
    info = tarfile.TarInfo("x" * 200)
    info.size = len(MODEL)
    return info.tobuf(tarfile.GNU_FORMAT)


def gzipped() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo(MANIFEST))
    return file.getvalue()


def changed(old: bytes, new: bytes) -> bytes:
    data = pack()
    assert data.count(old) == 1
    return data.replace(old, new)


TWO = {"models/tiny.gguf": MODEL, "models/other.gguf": MODEL}

HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no tar": lambda: b"x" * 4096,
    "zeros": lambda: bytes(10240),
    "gzip": gzipped,
    "no manifest": lambda: member("LICENSE", b"x") + END,
    "manifest is a link": lambda: other(tarfile.SYMTYPE, MANIFEST, link="/etc/passwd") + END,
    "manifest is a long pax header": lambda: other(tarfile.XHDTYPE, MANIFEST, 1 << 33),
    "manifest of 9 GB": lambda: header(MANIFEST, 9 << 30) + END,
    "manifest of 17 MB": lambda: header(MANIFEST, 17 << 20) + bytes(17 << 20) + END,
    "manifest of no bytes": lambda: pack(b""),
    "manifest that is no JSON": lambda: pack(b"{"),
    "manifest in Latin-1": lambda: pack('{"é": 1}'.encode("latin-1")),
    "manifest nested deeply": lambda: pack(b"[" * 100_000),
    "manifest with a number of many digits": lambda: pack(b"9" * 100_000),
    "manifest with a key twice": lambda: pack(b'{"format": 1, "format": "jlocal bundle"}'),
    "manifest with NaN": lambda: pack(b'{"format": NaN}'),
    "manifest that is a list": lambda: pack(b"[]"),
    "another format": lambda: pack(manifest(format="a bundle")),
    "version 2": lambda: pack(manifest(version=2)),
    "version true": lambda: pack(manifest(version=True)),
    "no version": lambda: pack(manifest(version=None)),
    "members of a wrong type": lambda: pack(manifest(members={})),
    "a member that is text": lambda: pack(manifest(members=["LICENSE"])),
    "too many members": lambda: pack(manifest(members=[1] * 10_001)),
    "size that is text": lambda: listed(size="9"),
    "size that is true": lambda: listed(size=True),
    "size below 0": lambda: listed(size=-1),
    "size of 2^70": lambda: listed(size=1 << 70),
    "sha256 of a wrong type": lambda: listed(sha256=1),
    "sha256 in capitals": lambda: listed(sha256="A" * 64),
    "absolute path": lambda: named("/etc/cron.d/x"),
    "path with ..": lambda: named("models/../../x.gguf"),
    "path with a backslash": lambda: named("models\\x.gguf"),
    "path with a drive": lambda: named("C:x.gguf"),
    "path with a NUL": lambda: named("models/x\0.gguf"),
    "path with a newline": lambda: named("models/x\n.gguf"),
    "hidden file": lambda: named("models/.x.gguf"),
    "unknown folder": lambda: named("bin/x.gguf"),
    "path twice": lambda: pack(
        manifest(members=[*manifest()["members"], manifest()["members"][0]]),
        MEMBERS,
        member("LICENSE", b"free\n"),
    ),
    "path twice in another case": lambda: pack(
        manifest(members := MEMBERS | {"models/TINY.gguf": MODEL}), members
    ),
    "a model without its file": lambda: pack(
        manifest(models=[{"name": "tiny", "path": "models/none.gguf"}])
    ),
    "a file without its model": lambda: pack(manifest(models=[])),
    "two names for one file": lambda: pack(
        manifest(models=[{"name": name, "path": "models/tiny.gguf"} for name in "ab"])
    ),
    "one name for two files": lambda: pack(
        manifest(TWO, models=[{"name": "a", "path": path} for path in TWO]), TWO
    ),
    "a name that is a path": lambda: pack(
        manifest(models=[{"name": "../../x", "path": "models/tiny.gguf"}])
    ),
    "a name with escape codes": lambda: pack(
        manifest(models=[{"name": "x\x1b[2J", "path": "models/tiny.gguf"}])
    ),
    "a name that is a number": lambda: pack(
        manifest(models=[{"name": 1, "path": "models/tiny.gguf"}])
    ),
    "a model of wrong types": lambda: pack(
        manifest(models=[{"name": "a", "path": ["models/tiny.gguf"]}])
    ),
    "wheels without needs": lambda: pack(None, MEMBERS | {"wheels/x.whl": b"x"}),
    "needs of wrong types": lambda: pack(manifest(program={"python": 3})),
    "a glibc that is a number": lambda: pack(
        manifest(
            members := MEMBERS | {"wheels/x.whl": b"x"},
            program={"jlocal": "1", "python": "3.11", "platform": "x", "glibc": 2.35},
        ),
        members,
    ),
    "needs that are a list": lambda: pack(
        manifest(members := MEMBERS | {"wheels/x.whl": b"x"}, program=["3.11"]), members
    ),
    "a library that is a path": lambda: pack(
        manifest(
            members := MEMBERS | {"wheels/x.whl": b"x"},
            program={"jlocal": "1", "python": "3.11", "platform": "x", "libraries": ["/tmp/x.so"]},
        ),
        members,
    ),
    "symbolic link": lambda: instead(other(tarfile.SYMTYPE, link="/etc/passwd")),
    "hard link": lambda: instead(other(tarfile.LNKTYPE, link="../x")),
    "device": lambda: instead(other(tarfile.CHRTYPE)),
    "block device": lambda: instead(other(tarfile.BLKTYPE)),
    "FIFO": lambda: instead(other(tarfile.FIFOTYPE)),
    "folder": lambda: instead(other(tarfile.DIRTYPE)),
    "contiguous file": lambda: instead(other(tarfile.CONTTYPE, size=len(MODEL)), MODEL),
    "old regular file": lambda: instead(other(tarfile.AREGTYPE, size=len(MODEL)), MODEL),
    "sparse file": lambda: instead(other(tarfile.GNUTYPE_SPARSE, size=len(MODEL)), MODEL),
    "pax header that renames": lambda: instead(pax(path="../../x"), MODEL),
    "pax header that resizes": lambda: instead(pax(size="1"), MODEL),
    "GNU header that renames": lambda: instead(long_name(), MODEL),
    "prefix that renames": lambda: instead(prefixed(), MODEL),
    "owner and time": lambda: changed(
        header("models/tiny.gguf", len(MODEL)), other(tarfile.REGTYPE, size=len(MODEL))
    ),
    "not in the manifest": lambda: pack(manifest(), MEMBERS, member("install.py", b"x")),
    "another file in its place": lambda: instead(header("models/x.gguf", len(MODEL)), MODEL),
    "members in another order": lambda: pack(manifest(), dict(reversed(MEMBERS.items()))),
    "a member twice": lambda: pack(manifest(), MEMBERS, member("LICENSE", b"free\n")),
    "fewer members than the manifest": lambda: pack(manifest(), {"LICENSE": b"free\n"}),
    "more bytes than the manifest": lambda: listed(size=len(MODEL) - 1),
    "fewer bytes than the manifest": lambda: listed(size=len(MODEL) + 1),
    "another sha256": lambda: listed(sha256="0" * 64),
    "damaged": lambda: changed(b"free\n", b"tree\n"),
    "data in a gap": lambda: changed(b"free\n\0", b"free\n!"),
    "cut off": lambda: pack()[:-1300],
    "no end": lambda: pack()[:-1024],
    "garbage at the end": lambda: pack() + b"x",
    "a second archive at the end": lambda: pack() * 2,
    "a model that is none": lambda: pack(None, {"models/tiny.gguf": b"MZ" + bytes(1000)}),
    "a model that is cut off": lambda: pack(None, {"models/tiny.gguf": MODEL[:90]}),
    "no model": lambda: pack(None, {"LICENSE": b"x"}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundle_is_one_line_and_leaves_nothing(name, tmp_path, own_home) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(HOSTILE[name]())
    tracemalloc.start()
    try:
        done = run("install", path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    assert done.stderr.startswith(f"Error: {path}: ")
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 400
    assert files_in(tmp_path) == {"b.tar"}
    assert not own_home.exists() or not list(own_home.iterdir())
    assert peak < 64 << 20
    if name != "no model":
        verified = run("verify", path)
        assert (verified.exit_code, verified.stdout) == (1, "")
        assert verified.stderr.count("\n") == 1


def test_what_is_no_file(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "missing.tar", Path("/dev/zero")):
        for command in ("verify", "install"):
            done = run(command, path)
            assert done.exit_code == 1
            assert done.stderr.count("\n") == 1
