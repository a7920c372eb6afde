"""The wheels of jlocal and its dependencies, for a machine without a package index."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import platform as this
import re
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from jlocal import child
from jlocal._version import __version__
from jlocal.bundle.standalone import Program
from jlocal.errors import BundleError
from jlocal.locations import cache_folder, make_private
from jlocal.models.offline import is_offline
from jlocal.outputs.atomic import atomic_write
from jlocal.outputs.staging import scratch_folder
from jlocal.terms import Argument

_LLAMA = "llama-cpp-python"

# Every x86-64 laptop and server since 2013 (Intel) or 2015 (AMD) has these.
_PORTABLE_CPU = ("avx", "avx2", "bmi2", "f16c", "fma")
_PORTABLE = "-DGGML_NATIVE=OFF -DGGML_SSE42=ON " + " ".join(
    f"-DGGML_{name.upper()}=ON" for name in _PORTABLE_CPU
)

_FOR_DEVELOPERS = {"test", "dev", "bench", "starter"}

_ANY = "py3-none-any"
_NAME_LIMIT = 100
_CONSTRAINTS = "constraints.txt"

# The date of every file in a wheel made here: the earliest that a zip can hold.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def check_extras(extras: Sequence[str]) -> None:
    """Check that the extras exist, before minutes of work.

    Raises:
        BundleError: jlocal does not have an extra.

    """
    known = set(metadata.metadata("jlocal").get_all("Provides-Extra") or ()) - _FOR_DEVELOPERS
    for name in extras:
        if name not in known:
            raise BundleError(f"there is no extra {name!r}; there are {', '.join(sorted(known))}")


def collect(
    folder: Path,
    *,
    platform: str | None,
    native: bool,
    extras: Sequence[str] = (),
    say: Callable[[str], object],
) -> Program:
    """Put wheels into a folder, and return their requirements.

    Versions are those of this environment. llama.cpp is compiled once for any x86-64 CPU with
    AVX2, which takes minutes, and kept in the user's cache.

    Args:
        folder: an empty folder.
        platform: a wheel's platform tag; None for this machine.
        native: include the llama.cpp of this environment.
        extras: extras of jlocal whose wheels are included as well.
        say: called with the name of each step.

    Raises:
        BundleError: a wheel is not available; the message says which and what to do.

    """
    own_platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    foreign = platform is not None and platform != own_platform
    say("building the wheel of jlocal")
    _own_wheel(folder, foreign)
    if not foreign and not native and not _portable():
        say("compiling llama.cpp, once, in minutes")
        _compile_portable()
    say("collecting wheels")
    (own,) = folder.glob("jlocal-*.whl")
    requirement = f"{own}[{','.join(extras)}]" if extras else str(own)
    if foreign:
        _download(folder, str(platform), requirement)
    else:
        llama = repack(_LLAMA, folder) if native else _portable()[0]
        done = _pip(
            "wheel", "-w", str(folder), "--prefer-binary", *_pinned(folder), requirement, str(llama)
        )
        if done.status:
            raise BundleError(f"pip cannot make the wheels: {_last_error(done)}")
    (folder / _CONSTRAINTS).unlink()
    for path in folder.glob("*.whl"):
        path.rename(folder / _shorten(path.name))
    linux = not foreign and sys.platform == "linux"
    return Program(
        jlocal=__version__,
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        platform=platform if platform and foreign else own_platform,
        extras=list(extras),
        cpu=None if foreign else _cpu(native),
        glibc=None if foreign else this.libc_ver()[1] or None,
        libraries=["libgomp.so.1", "libstdc++.so.6"] if linux else None,
    )


def repack(distribution: str, folder: Path, *, pure: bool = False) -> Path:
    """Make the wheel of an installed distribution from its files.

    Args:
        distribution: its name.
        folder: where the wheel goes.
        pure: leave compiled libraries out, for any platform.

    Raises:
        BundleError: the distribution was not installed from a wheel.

    """
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        installed = None
    tags = [
        line.partition(":")[2].strip()
        for line in ((installed and installed.read_text("WHEEL")) or "").splitlines()
        if line.startswith("Tag:")
    ]
    files = {
        file.as_posix(): Path(str(file.locate()))
        for file in (installed and installed.files) or ()
        if ".." not in file.parts and "__pycache__" not in file.parts
    }
    if installed is None or not tags or f"{distribution.replace('-', '_')}" not in str(files):
        raise BundleError(
            f"{distribution} was not installed from a wheel here, so there is no wheel to include"
        )
    left_out = ("/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json")
    if pure:
        tags = [_ANY]
        files = {path: file for path, file in files.items() if not path.endswith(".so")}
    name = distribution.replace("-", "_")
    # The tags "py2-none-any" and "py3-none-any" are "py2.py3-none-any" in a file name.
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    tag = "-".join(".".join(dict.fromkeys(part)) for part in parts)
    target = folder / f"{name}-{installed.version}-{tag}.whl"
    info = f"{name}-{installed.version}.dist-info"
    rows = []
    with zipfile.ZipFile(target, "w") as wheel:
        for path in sorted(files):
            if path.endswith(left_out) and path.startswith(info):
                continue
            data = files[path].read_bytes()
            if pure and path == f"{info}/WHEEL":
                data = re.sub(rb"(?m)^Tag: .*$", f"Tag: {_ANY}".encode(), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(data)}\n")
            wheel.writestr(_entry(path), data, zipfile.ZIP_DEFLATED)
        record = f"{info}/RECORD"
        wheel.writestr(_entry(record), "".join([*rows, f"{record},,\n"]), zipfile.ZIP_DEFLATED)
    return target


def _shorten(name: str) -> str:
    """Drop platforms from the name of a multi-platform wheel until it fits into a tar header.

    Later platforms in the alphabet are narrower: manylinux2014, manylinux_2_17, manylinux_2_28.
    """
    stem, _, platforms = name.removesuffix(".whl").rpartition("-")
    kept = sorted(platforms.split("."))
    while len(name) > _NAME_LIMIT and len(kept) > 1:
        kept.pop()
        name = f"{stem}-{'.'.join(kept)}.whl"
    return name


def _entry(path: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, _ZIP_DATE)
    entry.external_attr = 0o100644 << 16
    return entry


def _own_wheel(folder: Path, foreign: bool) -> None:
    """Build jlocal's wheel from its checkout or, without a checkout, from its installed files.

    The wheel for a foreign platform is an ordinary one, without jlocal's own kernels.
    """
    spec = importlib.util.find_spec("jlocal")
    root = Path(str(spec.origin)).resolve().parents[1] if spec else Path()
    if not (root / "pyproject.toml").is_file():
        repack("jlocal", folder, pure=foreign)
        return
    environment = {**os.environ, "JLOCAL_BUILD_KERNELS": "0"} if foreign else None
    done = _pip("wheel", "--no-deps", "-w", str(folder), str(root), environment=environment)
    if done.status:
        raise BundleError(
            f"cannot build the wheel of jlocal in {root}: {_last_error(done)}", path=root
        )


def _portable_settings() -> str:
    x86 = this.machine().lower() in ("x86_64", "amd64")
    settings = _PORTABLE if x86 else "-DGGML_NATIVE=OFF"
    return f"{os.environ.get('CMAKE_ARGS', '')} {settings}".strip()


def _portable_folder() -> Path:
    key = hashlib.sha256(_portable_settings().encode()).hexdigest()[:12]
    return cache_folder() / "wheels" / f"{metadata.version(_LLAMA)}-{key}"


def _portable() -> list[Path]:
    """Return the portable builds in the cache."""
    return sorted(_portable_folder().glob("*.whl"))


def _compile_portable() -> None:
    version, folder = metadata.version(_LLAMA), _portable_folder()
    environment = {
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
        **os.environ,
        "CMAKE_ARGS": _portable_settings(),
    }
    with scratch_folder() as work:
        # pip's own cache does not record the CPU that a wheel was compiled for.
        alone = ["--no-deps", "--no-cache-dir", "--no-binary", _LLAMA]
        target = ["-w", str(work), f"{_LLAMA}=={version}"]
        done = _pip("wheel", *alone, *target, environment=environment)
        built = sorted(work.glob("*.whl"))
        if done.status or not built:
            native = Argument("native", True)
            raise BundleError(
                f"cannot compile {_LLAMA} {version}: {_last_error(done)}; it needs a C++ "
                f"compiler and an index, or take the one that runs here: {native}",
                native,
            )
        make_private(folder)
        with atomic_write(folder / built[0].name) as file, built[0].open("rb") as source:
            shutil.copyfileobj(source, file)


def _download(folder: Path, platform: str, own: str) -> None:
    """Download the wheels of jlocal's dependencies for another platform."""
    only = ["--only-binary", ":all:", "--platform", platform, "--dest", str(folder)]
    llama = f"{_LLAMA}=={metadata.version(_LLAMA)}"
    if _pip("download", "--no-deps", *only, llama).status:
        raise BundleError(
            f"there is no wheel of {llama} for {platform}: compile it there with `pip wheel "
            f"--no-deps {llama}`, and name its folder in PIP_FIND_LINKS"
        )
    # pip evaluates "only on Windows" for this machine.
    more = ["colorama"] if platform.startswith("win") and sys.platform != "win32" else []
    done = _pip("download", *only, *_pinned(folder), own, llama, *more)
    if done.status:
        raise BundleError(f"a wheel for {platform} is missing: {_last_error(done)}")


def _pinned(folder: Path) -> list[str]:
    """Return pip's options for the versions of this environment, which are tested together."""
    pins = {
        f"{package.name}=={package.version}"
        for package in metadata.distributions()
        if package.name and package.name.lower() not in ("jlocal", "llama_cpp_python", _LLAMA)
    }
    file = folder / _CONSTRAINTS
    file.write_text("\n".join(sorted(pins)), encoding="utf-8")
    return ["--constraint", str(file), "--find-links", str(folder)]


def _cpu(native: bool) -> list[str] | None:
    if native:
        from jlocal.llama.features import FLAGS
        from jlocal.llama.library import features_here

        return sorted(FLAGS[name] for name in features_here() if name in FLAGS)
    return sorted(_PORTABLE_CPU) if this.machine().lower() in ("x86_64", "amd64") else []


def _pip(*arguments: str, environment: dict[str, str] | None = None) -> child.Finished:
    """Run pip with a temporary folder that is removed afterwards."""
    if importlib.util.find_spec("pip") is None:
        raise BundleError("this environment has no pip: python -m ensurepip")
    command = ["--disable-pip-version-check", "--quiet", *arguments]
    if is_offline():
        command.append("--no-index")
    with scratch_folder() as passing:
        places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(passing))
        return child.run("pip", *command, environment={**(environment or os.environ), **places})


def _last_error(done: child.Finished) -> str:
    """Return the line of pip's output with the cause: that of the innermost failure."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines or ["no reason given"])[-1].removeprefix("ERROR: ")
    return f"{reason} (offline)" if is_offline() else reason
