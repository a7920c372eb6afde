"""Diagnosing why jlocal does not work, or is slow."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import signal
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from jlocal import child
from jlocal._version import __version__
from jlocal.bundle.standalone import cpu_flags
from jlocal.errors import ModelError, OutputError
from jlocal.files import read_regular, sha256_of
from jlocal.gguf.header import Header
from jlocal.llama.features import FLAGS, features_in
from jlocal.llama.wide import widened_size, widening_pays
from jlocal.locations import cache_folder, home
from jlocal.memory import free_memory, total_memory
from jlocal.models import registry, starter
from jlocal.models.cache import cache_folder as hub_folder
from jlocal.models.names import resolve
from jlocal.models.offline import VARIABLES, is_offline
from jlocal.models.profile import Profile, read_profile

_PACKAGES = ("llama-cpp-python", "gguf", "numpy", "huggingface_hub")

# Memory besides the weights: context, buffers and Python, in bytes.
_RUNTIME_MEMORY = 400 << 20

# The minimum cosine for the same file on two machines. Quantised weights are multiplied with
# quantised activations, whose rounding depends on the kernel.
_SAME, _ALIKE = 0.9999, 0.999
_EXACT_TYPES = (0, 1, 32)  # F32, F16, BF16 of llama_ftype

# Limits for the vector that comes with a bundle: bytes of the file and its text, largest number.
_MAX_STORED, _MAX_TEXT, _MAX_NUMBER = 1 << 20, 1 << 14, 1e6

# In seconds: people run `doctor` because of hangs of an hour.
_TIMEOUT = 600


@dataclass(frozen=True)
class Finding:
    """A problem.

    Attributes:
        level: "broken", or "warning" if jlocal works nevertheless.
        command: command lines that may fix it.

    """

    level: str
    text: str
    command: tuple[str, ...] = ()


@dataclass
class Report:
    """The diagnosis, in JSON values.

    Attributes:
        features: for each instruction set, whether llama.cpp uses it and whether the CPU has it
            (None if the system does not report it).
        memory: in bytes.

    """

    versions: dict[str, str | None] = field(default_factory=dict)
    llama: dict[str, Any] = field(default_factory=dict)
    features: dict[str, dict[str, bool | None]] = field(default_factory=dict)
    memory: dict[str, int | None] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    folders: list[dict[str, Any]] = field(default_factory=list)
    offline: dict[str, Any] = field(default_factory=dict)
    self_test: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether any finding is "broken"."""
        return any(finding.level == "broken" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self) | {"broken": self.broken}

    def add(self, level: str, text: str, *command: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, text, command))


def diagnose(model: str | None = None) -> Report:
    """Run all checks, without changing anything or using the network.

    Args:
        model: name or path of the model for the self-test; None takes the smallest on this machine.

    """
    report = Report()
    _versions(report)
    _llama(report)
    _features(report)
    report.memory = {"total": total_memory(), "free": free_memory()}
    _models(report)
    _folders(report)
    set_variables = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    report.offline = {"offline": is_offline(), "variables": set_variables}
    _self_test(report, model)
    return report


def _versions(report: Report) -> None:
    report.versions = {"jlocal": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            report.versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            report.versions[name] = None
            report.add("broken", f"{name} is not installed.", f"pip install {name}")
    report.versions["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"


def _llama(report: Report) -> None:
    try:
        report.llama = _probe()
    except ModelError as error:
        report.add("broken", f"llama.cpp cannot be used: {error}.", *_rebuild())
        return
    gpu = [name for name in report.llama["backends"] if name not in ("cpu", "blas")]
    if gpu and not report.llama["gpus"]:
        report.add("warning", f"llama.cpp was built for {', '.join(gpu)}, and finds no GPU.")


def _features(report: Report) -> None:
    if not report.llama:
        return
    built, flags = features_in(report.llama["system info"]), cpu_flags()
    for name, flag in FLAGS.items():
        here = None if flags is None else flag in flags
        if here or name in built:
            report.features[name] = {"llama.cpp": name in built, "cpu": here}
    wasted = [name for name, row in report.features.items() if row["cpu"] and not row["llama.cpp"]]
    lacking = [name for name, row in report.features.items() if row["cpu"] is False]
    if lacking:
        words = ", ".join(lacking)
        report.add("broken", f"llama.cpp was built for a CPU with {words}.", *_rebuild())
    elif wasted:
        words = ", ".join(wasted)
        text = f"llama.cpp was built without {words}, which this CPU has: it may be slow."
        report.add("warning", text, *_rebuild())


def _rebuild() -> tuple[str, ...]:
    try:
        version = f"=={metadata.version('llama-cpp-python')}"
    except metadata.PackageNotFoundError:
        version = ""
    return (
        'CMAKE_ARGS="-DGGML_NATIVE=ON" pip install --no-cache-dir --force-reinstall \\',
        f"    --no-deps --no-binary llama-cpp-python llama-cpp-python{version}",
    )


def _models(report: Report) -> None:
    try:
        models = registry.installed()
    except (ModelError, ImportError) as error:
        report.add("broken", f"the models cannot be listed: {error}.")
        return
    except OutputError:  # which is among the findings of the folders
        return
    total, free = report.memory["total"], report.memory["free"]
    for model in models:
        need = _RUNTIME_MEMORY + model.size
        try:
            profile = read_profile(model.path)
            need = _RUNTIME_MEMORY + _weights(profile.header, report)
            _tokenizer(report, profile)
        except ModelError as error:
            report.add("warning", f"{model.name} cannot be used: {error}.")
        report.models.append(
            {"name": model.name, "path": str(model.path), "size": model.size, "needs": need}
        )
        if total is not None and need > total:
            report.add("warning", f"{model.name} is larger than this machine's memory.")
        elif free is not None and need > free:
            report.add("warning", f"{model.name} is larger than the memory that is free.")


def _weights(header: Header, report: Report) -> int:
    """Return the bytes of a model's weights in memory, in this machine's compute type."""
    chosen = os.environ.get("JLOCAL_COMPUTE_TYPE", "auto")
    features = features_in(report.llama.get("system info", ""))
    on_gpu = bool(report.llama.get("gpu offload"))
    if chosen == "bfloat16" or (
        chosen == "auto" and not on_gpu and widening_pays(header, features)
    ):
        return widened_size(header)
    return header.file_size


def _tokenizer(report: Report, profile: Profile) -> None:
    if profile.tokenizer_mismatch:
        report.add("warning", f"{profile.path}: {profile.tokenizer_mismatch}.")


def _folders(report: Report) -> None:
    folders: dict[str, Path] = {}
    for name, folder in (("home", home), ("cache", cache_folder)):
        try:
            folders[name] = folder()
        except OutputError as error:
            report.add("broken", f"the folder {error.path} cannot be written: {error}.")
    with contextlib.suppress(ImportError):  # which is among the findings already
        folders["hub cache"] = hub_folder()
    for name, path in folders.items():
        try:
            beside = next(folder for folder in (path, *path.parents) if folder.exists())
            free, size = shutil.disk_usage(beside).free, _size(path)
            writable = beside.is_dir() and os.access(beside, os.W_OK | os.X_OK)
        except OSError:
            free, size, writable = None, 0, False
        report.folders.append(
            {"name": name, "path": str(path), "size": size, "free": free, "writable": writable}
        )
        if not writable:
            report.add("warning", f"{path} cannot be written: nothing can be kept there.")


def _size(folder: Path) -> int:
    """Return the size of all files in a folder, without links."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            # It may be removed meanwhile.
            with contextlib.suppress(FileNotFoundError):
                size += (Path(place) / name).lstat().st_size
    return size


def _self_test(report: Report, model: str | None) -> None:
    if not report.llama:
        report.self_test = {"done": False, "reason": "llama.cpp cannot be used"}
        return
    if model is None:
        smallest = min(report.models, key=lambda entry: entry["size"], default=None)
        model = str(smallest["path"]) if smallest else starter.NAME
    try:
        path = resolve(model)
        profile = read_profile(path)
        exact = profile.file_type in _EXACT_TYPES
        if str(path) not in (entry["path"] for entry in report.models):
            _tokenizer(report, profile)
        # The text that came with the file, if there is one, so that the vectors can be compared.
        stored = _stored(path)
        found = _probe(str(path), *([stored["text"]] if stored else []))
    except (ModelError, OutputError) as error:
        report.self_test = {"done": True, "model": model, "passed": False}
        report.add("broken", f"the self-test with {model} failed: {error}.")
        return
    ours = found["ours"]
    least = _SAME if exact else _ALIKE
    compared = {"llama.cpp's own pooling": (_cosine(ours, found["theirs"]), least)}
    if stored:
        compared["the machine that made the bundle"] = (_cosine(ours, stored["vector"]), _ALIKE)
    failed = [name for name, (cosine, least) in compared.items() if not cosine >= least]
    cosines = {
        # JSON has no NaN.
        name: None if math.isnan(cosine) else cosine
        for name, (cosine, _) in compared.items()
    }
    report.self_test = {"done": True, "model": str(path), "passed": not failed, "cosine": cosines}
    for name in failed:
        cosine, least = compared[name]
        report.add(
            "broken",
            f"with {path}, the vector has a cosine of {cosine:.6f} with that of {name}; it should "
            f"be at least {least}. Rebuild llama.cpp, or fetch the model again.",
            *_rebuild(),
        )


def _stored(path: Path) -> dict[str, Any] | None:
    """Return the text and vector that came with a model file in a bundle; None without them."""
    if not registry.reference_vector_file("").parent.is_dir():
        return None
    try:
        value = json.loads(
            read_regular(registry.reference_vector_file(sha256_of(path)), _MAX_STORED)
        )
        text, vector = value["text"], value["vector"]
        if not isinstance(text, str) or not isinstance(vector, list):
            raise TypeError("it holds no text and vector")
        # The text is passed as an argument of a process.
        if len(text.encode()) > _MAX_TEXT or "\0" in text:
            raise ValueError("its text is too long, or not one")
        numbers = [float(number) for number in vector]
        if not all(abs(number) <= _MAX_NUMBER for number in numbers):
            raise ValueError("its vector holds numbers that no vector has")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"the stored vector of {path} cannot be read ({error})", path=path
        ) from error
    return {"text": text, "vector": numbers}


def _cosine(a: list[float], b: list[float]) -> float:
    """Return the cosine of two vectors; NaN if they cannot be compared."""
    lengths = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    if len(a) != len(b) or not lengths:
        return math.nan
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def _probe(*arguments: str) -> dict[str, Any]:
    """Run llama.cpp in a child process.

    Raises:
        ModelError: llama.cpp failed, or the process was killed.

    """
    try:
        done = child.run("jlocal.embed.probe", *arguments, limits=child.Limits(seconds=_TIMEOUT))
    except TimeoutError as error:
        raise ModelError(str(error)) from None
    if done.status == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    if done.status == -getattr(signal, "SIGILL", 4):
        raise ModelError("it uses instructions that this CPU does not have")
    if done.status < 0:
        raise ModelError(f"its process was ended by signal {-done.status}")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    raise ModelError(lines[-1].rstrip(".") if lines else f"exit status {done.status}")
