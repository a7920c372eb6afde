"""No test touches the user's files or a network; checkpoints and conversions are made once."""

from __future__ import annotations

import atexit
import compileall
import gc
import itertools
import os
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.checkpoints import Backbone, build
from support.disks import small_disk  # noqa: F401
from support.gguf_files import KINDS, few_tokens, variant
from support.once import by_type, once
from support.texts import AWKWARD, PROMPTS

if TYPE_CHECKING:
    from jlocal import Embedder
    from support.reference import Reference

# What a shell starts in the background ignores Ctrl-C, and what nohup starts ignores SIGHUP; so
# would all children of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).parents[1]
# The processes of xdist share a folder, and start in the environment of the first of them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _run = tempfile.TemporaryDirectory(prefix="jlocal-tests-")
    atexit.register(_run.cleanup)
    os.environ["WORKSHOP_OF_TESTS"] = _run.name
    # Compiled modules, the tests among them, let each process start sooner.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for _package in ("jlocal", "convert/jlocal_convert"):
        compileall.compile_dir(ROOT / _package, quiet=2)
WORKSHOP = Path(os.environ["WORKSHOP_OF_TESTS"])

# huggingface_hub reads these when it is imported, which is before any fixture runs.
_hub = tempfile.TemporaryDirectory(prefix="jlocal-tests-")
atexit.register(_hub.cleanup)
for _name in {*os.environ} - {"JLOCAL_KERNELS"}:
    if re.match(r"HF_|HUGGING|JLOCAL_|.*_PROXY$", _name, re.IGNORECASE):
        del os.environ[_name]
os.environ |= {
    "HF_HOME": _hub.name,
    # A file need not prove in each test anew that it can be loaded.
    "JLOCAL_CACHE": str(WORKSHOP / "cache"),
    "HF_ENDPOINT": "http://127.0.0.1:9",  # the discard port: nobody listens
    "TOKENIZERS_PARALLELISM": "false",
    # Clients of the server report to nobody.
    "ANONYMIZED_TELEMETRY": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "true",
    # By default OpenMP's threads spin while they wait, which on a busy machine takes most of the
    # time of models as small as these.
    "OMP_WAIT_POLICY": "passive",
    # The processes of tests share the cores; more threads of numpy's and torch's would only wait
    # for each other. jlocal gives llama.cpp a number of threads itself.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


# The first mark but skipif that a file gives all of its tests, alone or in a list.
_MARK_OF_FILE = re.compile(
    r"^pytestmark = [^\]]*?pytest\.mark\.(slow|browser|network_namespace)\b", re.MULTILINE
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave slow files out of the fast set before they import torch and the like."""
    if collection_path.suffix != ".py" or "not slow" not in config.option.markexpr:
        return None
    mark = _MARK_OF_FILE.search(collection_path.read_text(encoding="utf-8"))
    return (mark is not None and f"not {mark[1]}" in config.option.markexpr) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among modules and collected tests, which all stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: a worker that ends with one would work alone."""
    weights: Counter[Path] = Counter()
    for item in items:
        slow = item.get_closest_marker("slow")
        weights[item.path] += 10 * slow.kwargs.get("times", 1) if slow else 1
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: (-weights[item.path], item.path))


@pytest.fixture(scope="session", autouse=True)
def children_compile_nothing() -> None:
    """Under a limit of the size of files, a child would leave a part of a compiled module."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Name a folder for the home of each test: pytest would look at all those before it."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def user_folders(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home of its own, for itself and the processes that it starts."""
    home = next(homes)
    home.mkdir()
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(home))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    return home


@pytest.fixture(scope="session")
def workshop() -> Path:
    """Return a folder for large files that all processes share; it goes when they have ended."""
    return WORKSHOP


@pytest.fixture(scope="session")
def checkpoint(workshop: Path) -> Callable[[Backbone], Path]:
    """Backbone -> a base checkpoint with all four adapters; not to be changed."""
    return cache(lambda backbone: once(workshop / backbone, lambda folder: build(folder, backbone)))


@pytest.fixture(scope="session")
def small_checkpoint(checkpoint: Callable[[Backbone], Path]) -> Path:
    """Return a base checkpoint in the layout of jina-embeddings-v5-text-small."""
    return checkpoint("qwen3")


@pytest.fixture(scope="session")
def nano_checkpoint(checkpoint: Callable[[Backbone], Path]) -> Path:
    """Return a base checkpoint in the layout of jina-embeddings-v5-text-nano."""
    return checkpoint("eurobert")


@pytest.fixture(scope="session")
def cut_checkpoint(workshop: Path) -> Callable[[Backbone], Path]:
    """Backbone -> the same with a tenth of its tokens, those of `prose` among them."""

    def make(backbone: Backbone) -> Path:
        folder = once(
            workshop / f"{backbone}-cut",
            lambda folder: few_tokens(build(folder / backbone, backbone), 12_800),
        )
        return folder / backbone

    return cache(make)


@pytest.fixture(scope="session")
def converted(
    workshop: Path,
    checkpoint: Callable[[Backbone], Path],
    cut_checkpoint: Callable[[Backbone], Path],
) -> Callable[..., Path]:
    """(backbone, task, type) -> the GGUF that `convert` makes.

    With all tokens (`whole=True`) a file takes a second to make, and another to load.
    """
    from jlocal_convert import convert

    @cache
    def files(backbone: Backbone, task: str, whole: bool) -> dict[str, Path]:
        source = (checkpoint if whole else cut_checkpoint)(backbone)
        # In one go, which takes half the time.
        folder = once(
            workshop / f"{backbone}-{task}{'-whole' if whole else ''}",
            lambda folder: convert(source, tasks=(task,), types=KINDS, output=folder),
        )
        return by_type(folder, KINDS)

    def file(
        backbone: Backbone, task: str = "retrieval", kind: str = "F16", *, whole: bool = False
    ) -> Path:
        return files(backbone, task, whole)[kind]

    return file


@pytest.fixture(scope="session")
def few_checkpoint(workshop: Path) -> Path:
    """Return a checkpoint with few tokens and rows of 256 weights, quick to quantise."""
    shape = {"hidden": 256, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 64, "ffn": 512}
    return once(
        workshop / "few",
        lambda folder: few_tokens(build(folder, "qwen3", tasks=("retrieval",), **shape)),
    )


@pytest.fixture(scope="session")
def few(workshop: Path, few_checkpoint: Path) -> Path:
    """Return an F16 file of it."""
    from jlocal_convert import convert

    folder = once(
        workshop / "few-files",
        lambda folder: convert(few_checkpoint, types=["F16"], output=folder),
    )
    return by_type(folder, ["F16"])["F16"]


@pytest.fixture(scope="session")
def models(small_checkpoint: Path, nano_checkpoint: Path, workshop: Path) -> list[Path]:
    """Return a Q8_0 file of each architecture, with few tokens."""
    from jlocal_convert import convert

    def make(folder: Path) -> None:
        for checkpoint in (small_checkpoint, nano_checkpoint):
            source = few_tokens(variant(checkpoint, folder / checkpoint.name))
            convert(source, tasks=("retrieval",), types=("Q8_0",), output=folder)

    folder = once(workshop / "models", make)
    return [next(folder.glob(f"{it.name}-*.gguf")) for it in (small_checkpoint, nano_checkpoint)]


@pytest.fixture(scope="session")
def calibration_file(workshop: Path) -> Path:
    """Return a file of 48 texts to calibrate with, one a line."""
    from jlocal_convert.quantization.calibration import read_calibration

    def write(folder: Path) -> None:
        lines = [" ".join(text.split()) for text in read_calibration(["default"]).texts[:48]]
        (folder / "texts.txt").write_text("".join(f"{it}\n" for it in lines), encoding="utf-8")

    return once(workshop / "calibration", write) / "texts.txt"


@pytest.fixture(scope="session")
def starter() -> Iterator[Embedder]:
    """Open the model that comes with jlocal, with one thread: other workers have other cores."""
    from jlocal import Embedder

    with Embedder("starter", threads=1) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def starter_files(workshop: Path) -> dict[str, Path]:
    """Return files of the starter's retrieval adapter, which is trained, by type."""
    from jlocal_convert import convert
    from support.verify_inputs import STARTER

    types = ("F16", "Q8_0", "Q4_K_M")
    folder = once(
        workshop / "starter",
        lambda folder: convert(STARTER, tasks=["retrieval"], types=types, output=folder),
    )
    return by_type(folder, types)


@pytest.fixture(scope="session")
def stored_reference(workshop: Path, starter_files: dict[str, Path]) -> Path:
    """Return what the starter's F16 file gives for a few texts."""
    from jlocal.verify import save_reference
    from support.verify_inputs import SOME

    folder = once(
        workshop / "reference",
        lambda folder: save_reference(starter_files["F16"], folder / "f16.npz", texts=SOME),
    )
    return folder / "f16.npz"


@pytest.fixture(scope="session")
def collection_models(workshop: Path) -> list[Path]:
    """Return one model in F32 and in Q8_0, with few tokens, so that each process opens it soon."""
    from jlocal_convert import convert

    types = ("F32", "Q8_0")
    source = once(
        workshop / "collections",
        lambda folder: few_tokens(build(folder, "qwen3", tasks=("retrieval",))),
    )
    folder = once(
        workshop / "collections-files",
        lambda folder: convert(source, types=types, output=folder),
    )
    return list(by_type(folder, types).values())


@pytest.fixture(scope="session")
def model_file(collection_models: list[Path]) -> Path:
    """Return the file that collections are made with."""
    return collection_models[0]


@pytest.fixture(scope="session")
def other_model_file(collection_models: list[Path]) -> Path:
    """Return another file, whose vectors cannot be mixed with those of the first."""
    return collection_models[1]


@pytest.fixture(scope="module")
def model(model_file: Path) -> Iterator[Embedder]:
    """Open it for the tests of one file, with one thread: other workers have other cores."""
    from jlocal import Embedder

    with Embedder(model_file, threads=1) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def reference(
    checkpoint: Callable[[Backbone], Path], cut_checkpoint: Callable[[Backbone], Path]
) -> Callable[..., Reference]:
    """(backbone, task) -> the same model in transformers and PEFT, as `converted` has it."""
    from support.reference import Reference

    @cache
    def load(backbone: Backbone, task: str | None, whole: bool) -> Reference:
        return Reference((checkpoint if whole else cut_checkpoint)(backbone), task)

    def model(backbone: Backbone, task: str | None, *, whole: bool = False) -> Reference:
        return load(backbone, task, whole)

    return model


@pytest.fixture(scope="session")
def expected(reference: Callable[..., Reference]) -> Callable[..., dict]:
    """(backbone, task) -> name of the prompt -> the reference's vectors of AWKWARD."""

    @cache
    def encode(backbone: Backbone, task: str, whole: bool) -> dict:
        model = reference(backbone, task, whole=whole)
        return {name: model.encode(AWKWARD.values(), prompt) for name, prompt in PROMPTS.items()}

    def vectors(backbone: Backbone, task: str, *, whole: bool = False) -> dict:
        return encode(backbone, task, whole)

    return vectors
