"""The checks of `jlocal doctor`."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from jlocal._version import __version__
from jlocal.bundle.standalone import cpu_flags
from jlocal.collection.names import collections, is_not_sqlite
from jlocal.doctor import probe
from jlocal.doctor.report import Folder, InstructionSet, Memory, Model, Offline, Report
from jlocal.doctor.self_test import check_tokenizer, self_test
from jlocal.errors import CollectionError, ModelError, OutputError
from jlocal.gguf.header import Header
from jlocal.llama.choice import choose, weights_size
from jlocal.llama.features import FLAGS, features_in
from jlocal.locations import cache_folder, home
from jlocal.memory import free_memory, total_memory
from jlocal.models import registry
from jlocal.models.cache import cache_folder as hub_folder
from jlocal.models.offline import VARIABLES, is_offline
from jlocal.models.profile import read_profile

_PACKAGES = ("llama-cpp-python", "gguf", "numpy", "huggingface_hub")

# Memory besides the weights: context, buffers and Python, in bytes.
_RUNTIME_MEMORY = 400 << 20


def diagnose(model: str | None = None) -> Report:
    """Run all checks, without changing anything or using the network.

    Args:
        model: name or path of the model for the self-test; None takes the smallest on this machine.

    """
    report = Report()
    _versions(report)
    _llama(report)
    _features(report)
    report.memory = Memory(total_memory(), free_memory())
    _models(report)
    _folders(report)
    _collections(report)
    set_variables = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    report.offline = Offline(is_offline(), set_variables)
    report.self_test = self_test(report, model)
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
        report.llama = probe.build_info()
    except ModelError as error:
        report.add(
            "broken", f"llama.cpp cannot be used: {error}.", *probe.rebuild_command(), cause=error
        )
        return
    gpu = [name for name in report.llama.backends if name not in ("cpu", "blas")]
    if gpu and not report.llama.gpus:
        report.add("warning", f"llama.cpp was built for {', '.join(gpu)}, and finds no GPU.")


def _features(report: Report) -> None:
    if not report.llama:
        return
    built, flags = features_in(report.llama.system_info), cpu_flags()
    for name, flag in FLAGS.items():
        in_cpu = None if flags is None else flag in flags
        if in_cpu or name in built:
            report.features[name] = InstructionSet(name in built, in_cpu)
    wasted = [name for name, row in report.features.items() if row.cpu and not row.llama]
    lacking = [name for name, row in report.features.items() if row.cpu is False]
    if lacking:
        words = ", ".join(lacking)
        report.add(
            "broken", f"llama.cpp was built for a CPU with {words}.", *probe.rebuild_command()
        )
    elif wasted:
        words = ", ".join(wasted)
        text = f"llama.cpp was built without {words}, which this CPU has: it may be slow."
        report.add("warning", text, *probe.rebuild_command())


def _models(report: Report) -> None:
    try:
        models = registry.installed()
    except ImportError as error:
        report.add("broken", f"the models cannot be listed: {error}.")
        return
    except ModelError as error:
        report.add("broken", f"the models cannot be listed: {error}.", cause=error)
        return
    except OutputError:  # which is among the findings of the folders
        return
    total, free = report.memory.total, report.memory.free
    for model in models:
        need = _RUNTIME_MEMORY + model.size
        try:
            profile = read_profile(model.path)
            need = _RUNTIME_MEMORY + _weights(profile.header, report)
            check_tokenizer(report, profile)
        except ModelError as error:
            report.add("warning", f"{model.name} cannot be used: {error}.", cause=error)
        report.models.append(Model(model.name, str(model.path), model.size, need))
        if total is not None and need > total:
            report.add("warning", f"{model.name} is larger than this machine's memory.")
        elif free is not None and need > free:
            report.add("warning", f"{model.name} is larger than the memory that is free.")


def _weights(header: Header, report: Report) -> int:
    """Return the bytes of a model's weights in memory, in this machine's compute type."""
    chosen = os.environ.get("JLOCAL_COMPUTE_TYPE", "auto")
    build = report.llama
    features = features_in(build.system_info) if build else frozenset()
    families = build.kernels if build else ()
    if chosen == "auto":
        on_gpu = build is not None and build.gpu_offload
        chosen = "stored" if on_gpu else choose(header, features, families)
    return weights_size(header, chosen, families)


def _folders(report: Report) -> None:
    folders: dict[str, Path] = {}
    for name, folder in (("home", home), ("cache", cache_folder)):
        try:
            folders[name] = folder()
        except OutputError as error:
            report.add(
                "broken", f"the folder {error.path} cannot be written: {error}.", cause=error
            )
    with contextlib.suppress(ImportError):  # which is among the findings already
        folders["hub cache"] = hub_folder()
    for name, path in folders.items():
        try:
            beside = next(folder for folder in (path, *path.parents) if folder.exists())
            free, size = shutil.disk_usage(beside).free, _size(path)
            writable = beside.is_dir() and os.access(beside, os.W_OK | os.X_OK)
        except OSError:
            free, size, writable = None, 0, False
        report.folders.append(Folder(name, str(path), size, free, writable))
        if not writable:
            report.add("warning", f"{path} cannot be written: nothing can be kept there.")


def _collections(report: Report) -> None:
    """Look at the files of collections that have names, without opening them: that may migrate."""
    try:
        named = collections()
    except OutputError:  # which is among the findings of the folders
        return
    except CollectionError as error:
        report.add("warning", f"the collections cannot be listed: {error}.", cause=error)
        return
    for name, path in named.items():
        if not path.is_file():
            reason = "is not a file; move it away"
        elif not os.access(path, os.R_OK):
            reason = "cannot be read; change its permissions"
        elif is_not_sqlite(path):
            reason = "is not an SQLite file; move it away"
        else:
            continue
        report.add("warning", f"the collection {name} cannot be used: {path} {reason}.")


def _size(folder: Path) -> int:
    """Return the size of all files in a folder, without links."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            # It may be removed meanwhile.
            with contextlib.suppress(FileNotFoundError):
                size += (Path(place) / name).lstat().st_size
    return size
