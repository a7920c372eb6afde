"""Check a bundle of jlocal and install its content, with Python's standard library alone.

In a bundle this file is `install.py`:

    tar -xf BUNDLE.tar install.py
    python3 install.py BUNDLE.tar

It checks every byte, creates a virtual environment, installs the wheels without an index, and runs
jlocal to install the models. jlocal itself reads bundles with the same code.

A bundle is an uncompressed tar: `manifest.json`, then its members in the manifest's order, with
headers that hold only a path and a size. A given content therefore has only one encoding, and all
other features of tar (links, devices, renaming headers, gaps) are refused without a rule for each.
"""

import sys

if __name__ == "__main__":
    # Nothing is imported from the folder of this file or the current folder, not even a
    # `__future__.py`. Older Pythons cannot parse the code below.
    if sys.version_info < (3, 10):  # noqa: UP036
        sys.exit("Error: jlocal needs Python 3.10 or later")
    _prefixes = (sys.base_prefix, sys.base_exec_prefix)
    sys.path[:] = [entry for entry in sys.path if entry.startswith(_prefixes)]
    import os

    _library = os.path.dirname(os.__file__)
    sys.path[:] = [x for x in sys.path if x.startswith(_library) or x.endswith(("dynload", "DLLs"))]

import argparse
import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

FORMAT, VERSION = "jlocal bundle", 1
MANIFEST, MANIFEST_LIMIT, END = "manifest.json", 16 << 20, bytes(1024)

_BLOCK, _CHUNK = 512, 1 << 20
_MEMBER_LIMIT, _SIZE_LIMIT, _NAME_LIMIT = 10_000, 1 << 42, 100
_FILE = r"[A-Za-z0-9_](?:[A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?"
_PATH = re.compile(
    rf"LICENSE|install\.py|(?:licenses/{_FILE}\.txt|models/{_FILE}\.gguf|wheels/{_FILE}\.whl)"
)
_KINDS = {
    **dict.fromkeys((tarfile.LNKTYPE, tarfile.SYMTYPE), "a link"),
    **dict.fromkeys((tarfile.CHRTYPE, tarfile.BLKTYPE), "a device"),
    **{tarfile.DIRTYPE: "a folder", tarfile.FIFOTYPE: "a FIFO"},
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_OTHER = "an extended header, or of an unknown type"


class RefusedError(Exception):
    """A bundle is damaged, or cannot be installed here; the message is one line."""


@dataclass(frozen=True)
class Member:
    """A file in a bundle; `size` in bytes, `sha256` in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model's entry in a manifest; beside its name and path, only the types are checked."""

    name: str
    path: str
    source: str | None
    revision: str | None
    license: str | None
    check: dict[str, object] | None


@dataclass(frozen=True)
class Program:
    """The requirements of the wheels; None where they are not known."""

    jlocal: str
    python: str
    platform: str
    extras: list[str] | None
    cpu: list[str] | None
    glibc: str | None
    libraries: list[str] | None


@dataclass(frozen=True)
class Manifest:
    """The manifest of a bundle, its members in the order of the archive, its `end` in bytes."""

    members: tuple[Member, ...]
    models: tuple[Model, ...]
    program: Program | None
    end: int


def header(path: str, size: int) -> bytes:
    """Return the only valid header of a member: no owner, no time, mode 644."""
    folder, _, name = path.rpartition("/") if len(path) > _NAME_LIMIT else ("", "", path)
    length = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    owner, time = 2 * b"0000000\0", b"%011o\0" % 0
    before = name.encode("ascii").ljust(100, b"\0") + b"0000644\0" + owner + length + time
    after = b"0".ljust(101, b"\0") + b"ustar\x0000" + bytes(80) + folder.encode("ascii")
    total = sum(before + 8 * b" " + after)
    return (before + b"%06o\0 " % total + after).ljust(_BLOCK, b"\0")


def padding(size: int) -> bytes:
    """Return the padding of a member's last block."""
    return bytes(-size % _BLOCK)


class Bundle:
    """A bundle opened for reading; a context manager. Its members are not checked yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a bundle and read its manifest.

        Raises:
            RefusedError: the file is not a bundle, is truncated, or has an unknown version.
            OSError: the file cannot be read.

        """
        if not Path(path).is_file():
            reason = "it is not a regular file" if Path(path).exists() else "no such file"
            raise RefusedError(reason)
        self._file: BinaryIO = open(path, "rb")  # noqa: PTH123, SIM115 - closed by close()
        try:
            self.manifest = self._read_manifest()
            length, end = os.fstat(self._file.fileno()).st_size, self.manifest.end
            if length < end:
                raise RefusedError(f"it is cut off: {length:,} bytes, {end:,} in its manifest")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def members(
        self, on_bytes: Callable[[int], object] | None = None
    ) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yield all members once; RefusedError if one contradicts the manifest."""
        for member in self.manifest.members:
            block = self._file.read(_BLOCK)
            if block != header(member.path, member.size):
                raise RefusedError(self._fault(block, member))
            content = self._content(member, on_bytes)
            yield member, content
            for _ in content:
                pass
        if self._file.read(len(END)) != END:
            raise RefusedError("it holds more than its manifest says")
        if self._file.read(1):
            raise RefusedError("it goes on after its end")

    def _read_manifest(self) -> Manifest:
        block = self._file.read(_BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError):
            raise RefusedError("it is not a tar archive") from None
        if info.name != MANIFEST:
            raise RefusedError(f"it does not begin with {MANIFEST}: not a bundle of jlocal")
        if info.type != tarfile.REGTYPE:
            raise RefusedError(f"{MANIFEST} is {_KINDS.get(info.type, _OTHER)}")
        if not 0 < info.size <= MANIFEST_LIMIT:
            raise RefusedError(f"its manifest has {info.size:,} bytes; at most {MANIFEST_LIMIT:,}")
        if block != header(MANIFEST, info.size):
            raise RefusedError(f"the header of {MANIFEST} was not written by this format's rules")
        data = self._file.read(info.size)
        if self._file.read(len(padding(info.size))) != padding(info.size):
            raise RefusedError("it is cut off in its manifest, or has data in a gap")
        return parse_manifest(data)

    def _content(self, member: Member, on_bytes: Callable[[int], object] | None) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), member.size
        while left:
            chunk = self._file.read(min(left, _CHUNK))
            if not chunk:
                raise RefusedError(f"it is cut off in {member.path}")
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
            if on_bytes:
                on_bytes(len(chunk))
        if self._file.read(len(padding(member.size))) != padding(member.size):
            raise RefusedError(f"it has data in the gap after {member.path}")
        if digest.hexdigest() != member.sha256:
            raise RefusedError(f"{member.path} is damaged: its sha256 is not the manifest's")

    def _fault(self, block: bytes, expected: Member) -> str:
        """Return the fault of a member's header."""
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError):
            return f"no member begins where {expected.path} should"
        name = ascii(info.name)[:120]
        if info.type != tarfile.REGTYPE:
            return f"{name} is {_KINDS.get(info.type, _OTHER)}; a bundle holds regular files only"
        if not _PATH.fullmatch(info.name):
            return f"{name} is not a path that a bundle may hold"
        if info.name not in {member.path for member in self.manifest.members}:
            return f"{name} is not in the manifest"
        if info.name != expected.path:
            return f"{name} stands where {expected.path} should: twice, or out of order"
        if info.size != expected.size:
            return f"{name} has {info.size:,} bytes; {expected.size:,} in the manifest"
        return f"the header of {name} holds more than a path and a size: not written by jlocal"


def parse_manifest(data: bytes) -> Manifest:
    """Parse and check a manifest; RefusedError names the invalid part."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"its manifest is not JSON: {str(error)[:80]}") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RefusedError("its manifest is not that of a bundle of jlocal")
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        number = ascii(version)[:40]
        raise RefusedError(f"its version is {number}; this program knows {VERSION}: update jlocal")
    members = tuple(map(_member, _list(value, "members")))
    if len({member.path.lower() for member in members}) < len(members):
        raise RefusedError("its manifest has a path twice")
    models = tuple(map(_model, _list(value, "models")))
    files = sorted(member.path for member in members if member.path.startswith("models/"))
    if sorted(model.path for model in models) != files:
        raise RefusedError("the models in its manifest are not those among its members")
    if len({model.name.lower() for model in models}) < len(models):
        raise RefusedError("its manifest has a model twice")
    program = None if value.get("program") is None else _program(value["program"])
    if (program is not None) != any(member.path.startswith("wheels/") for member in members):
        raise RefusedError("its manifest does not say what its wheels need")
    sizes = [len(data), *(member.size for member in members)]
    end = sum(_BLOCK + size + len(padding(size)) for size in sizes) + len(END)
    return Manifest(members, models, program, end)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _list(value: dict[str, object], key: str) -> list[object]:
    items = value.get(key)
    if not isinstance(items, list) or len(items) > _MEMBER_LIMIT:
        raise RefusedError(f"{key!r} in its manifest is not a list, or too long")
    return items


def _member(value: object) -> Member:
    if not isinstance(value, dict):
        raise RefusedError("a member in its manifest is not an object")
    path, size, sha256 = value.get("path"), value.get("size"), value.get("sha256")
    if not isinstance(path, str) or not _PATH.fullmatch(path) or len(path) > 2 * _NAME_LIMIT:
        raise RefusedError(f"{ascii(path)[:120]} is not a path that a bundle may hold")
    if len(path.rpartition("/")[2]) > _NAME_LIMIT:
        raise RefusedError(f"the name of {path} is too long for a tar")
    if type(size) is not int or not 0 <= size <= _SIZE_LIMIT:
        raise RefusedError(f"the size of {path} in its manifest is {ascii(size)[:40]}")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise RefusedError(f"the sha256 of {path} in its manifest is not a SHA-256")
    return Member(path, size, sha256)


def _model(value: object) -> Model:
    if not isinstance(value, dict):
        raise RefusedError("a model in its manifest is not an object")
    name, path, check = value.get("name"), value.get("path"), value.get("check")
    if not isinstance(name, str) or not isinstance(path, str):
        raise RefusedError("a model in its manifest has no name or no path")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,199}", name):
        raise RefusedError(f"{ascii(name)[:120]} is not a name that a model may have")
    texts = (value.get(key) for key in ("source", "revision", "license"))
    source, revision, licence = (text if isinstance(text, str) else None for text in texts)
    return Model(name, path, source, revision, licence, check if isinstance(check, dict) else None)


def _program(value: object) -> Program:
    values, keys = value if isinstance(value, dict) else {}, Program.__dataclass_fields__
    program = Program(**dict.fromkeys(keys) | {key: values[key] for key in values if key in keys})
    lists = [items or [] for items in (program.cpu, program.libraries, program.extras)]
    words = [program.jlocal, program.python, program.platform, program.glibc or "0.0"]
    words += [word for items in lists if isinstance(items, list) for word in items]
    if (
        not all(isinstance(items, list) for items in lists)
        or not all(isinstance(word, str) and re.fullmatch(r"[\w.+-]{1,64}", word) for word in words)
        or not re.fullmatch(r"3\.\d{1,3}", program.python, re.ASCII)
        or not re.fullmatch(r"\d{1,4}\.\d{1,4}", program.glibc or "0.0", re.ASCII)
    ):
        raise RefusedError("its manifest does not say in a known way what its wheels need")
    return program


def missing_requirement(program: Program) -> str | None:
    """Return a requirement of the wheels that this machine lacks, in a sentence; None without."""
    here, need = ".".join(map(str, sys.version_info[:2])), program.python
    if need != here:
        return f"its wheels are for Python {need}; this is {here}: run it with python{need}"
    if not _same_platform(program.platform):
        return f"its wheels are for {program.platform}; this is {sysconfig.get_platform()}"
    flags = cpu_flags()
    missing = [flag for flag in program.cpu or () if flags is not None and flag not in flags]
    if missing:
        return f"its llama.cpp needs a CPU with {', '.join(missing)}, which this one lacks"
    need, (library, version) = program.glibc or "0", platform.libc_ver()
    if library == "glibc" and list(map(int, version.split("."))) < list(map(int, need.split("."))):
        return f"its llama.cpp needs glibc {need} or later; this machine has {version}"
    for name in program.libraries or ():
        try:
            ctypes.CDLL(name)
        except OSError:
            return f"its llama.cpp needs {name}, which this machine lacks; install it first"
    return None


def cpu_flags() -> frozenset[str] | None:
    """Return this CPU's features by Linux's names; None if the system does not report them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    flags = re.search("^(?:flags|Features)[^:]*:(.*)", text, re.MULTILINE)
    return frozenset(flags[1].split()) if flags else None


def _same_platform(tag: str) -> bool:
    """Compare the platform tag of wheels with this machine: system and processor."""
    system = {"darwin": "macosx", "win32": "win"}.get(sys.platform, sys.platform)
    machines = {"x86_64": ("x86_64", "amd64"), "arm64": ("arm64", "aarch64")}
    machine = platform.machine().lower()
    names = next((names for names in machines.values() if machine in names), (machine,))
    return system in tag and tag.endswith((*names, "universal2"))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="install.py", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="the .tar that this file came in")
    active = sys.prefix if sys.prefix != sys.base_prefix else None
    preset = f"{active or 'jlocal-venv, a new one,'} if not given"
    parser.add_argument("--venv", metavar="DIR", default=active, help=preset)
    arguments = parser.parse_args()
    try:
        # An existing folder could be someone else's, as could everything beside it.
        if arguments.venv is None and Path("jlocal-venv").exists():
            raise RefusedError("jlocal-venv is here; to install into it: --venv jlocal-venv")
        _install(Path(arguments.bundle), Path(arguments.venv or "jlocal-venv").absolute())
    except (RefusedError, OSError) as error:
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        _log(f"Error: {arguments.bundle}: {reason}{where}")
        sys.exit(1)
    except KeyboardInterrupt:
        _log("Interrupted.")
        sys.exit(130)


def _install(bundle: Path, folder: Path) -> None:
    with Bundle(bundle) as opened:
        if (program := opened.manifest.program) is None:
            raise RefusedError("it holds models only; install them with `jlocal bundle install`")
        if missing := missing_requirement(program):
            raise RefusedError(missing)
        if program.cpu is None or cpu_flags() is None:
            _log("Not checked on this machine: instruction sets.")
        _log("Checking every file …")
        for _ in opened.members():
            pass
    made = not folder.exists()
    try:
        python = _environment(folder)
        _log(f"Installing the program into {folder} …")
        _install_wheels(bundle, python)
        models = ["bundle", "install", str(bundle.absolute())]
        if opened.manifest.models and _run(str(python), "jlocal", *models):
            raise RefusedError("jlocal could not put the models in place: see above")
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    _log(f"Done. The program: {python.parent / 'jlocal'}")


def _environment(folder: Path) -> Path:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        if folder.exists():
            raise RefusedError(f"{folder} exists and is not a virtual environment")
        # As a command: in this process, a failure of its pip would print a traceback.
        if _run(sys.executable, "venv", str(folder), output=subprocess.DEVNULL):
            raise RefusedError(f"cannot make {folder}; Debian and Ubuntu need python3-venv for it")
    return python


def _install_wheels(bundle: Path, python: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="jlocal-") as folder, Bundle(bundle) as opened:
        for member, content in opened.members():
            if member.path.startswith("wheels/"):
                with (Path(folder) / Path(member.path).name).open("xb") as file:
                    file.writelines(content)
        wheels = [str(path) for path in sorted(Path(folder).iterdir())]
        # Isolated: no setting of this machine may direct pip to an index or other versions.
        offline = ["--no-index", "--no-cache-dir", "--disable-pip-version-check"]
        if _run(str(python), "pip", "--isolated", "install", "--quiet", *offline, *wheels):
            raise RefusedError("pip could not install the wheels: see above")


def _run(python: str, module: str, *arguments: str, output: int | None = None) -> int:
    """Run a module, isolated and in an empty folder; return its exit status."""
    if home := os.environ.get("JLOCAL_HOME"):
        os.environ["JLOCAL_HOME"] = str(Path(home).expanduser().absolute())
    command = [python, "-I", "-m", module, *arguments]
    with tempfile.TemporaryDirectory(prefix="jlocal-") as empty:
        return subprocess.run(command, cwd=empty, stdout=output, stderr=output).returncode  # noqa: S603


def _log(message: str) -> None:
    """Print a line on stderr, without characters that control a terminal."""
    sys.stderr.write("".join(x if x.isprintable() else "\ufffd" for x in message) + "\n")


if __name__ == "__main__":
    _main()
