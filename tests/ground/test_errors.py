"""Exceptions: one tree, with data for programs, and equal when they come from elsewhere."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder, errors
from jlocal.collection.database.lock import sole_indexer
from jlocal.errors import (
    ArgumentError,
    BusyError,
    CollectionError,
    FileError,
    InsideFolderError,
    JlocalError,
    ModelError,
    OtherConfigError,
    OutputError,
    TextError,
    TextTooLongError,
)
from jlocal.server.problem import Kind
from jlocal.terms import Argument, Method

ROOT = Path(__file__).parents[2]
# The base of each exception has such a name.
EXCEPTION = re.compile(r"^ *class \w+\(.*(Error|Exception|Warning)\b", re.MULTILINE)
# A value for each argument of an exception, by its name.
VALUES = {
    "message": "use chunk=512 or Collection.index()",
    "reason": "is bad",
    "path": Path("a file"),
    "outer": Path("a folder"),
    "similar": "notes",
    "argument": "chunk",
    "extra": "pdf",
    "repository": "owner/name",
    "types": ("F16", "Q8_0"),
    "indices": (1, 3),
    "index": 3,
    "tokens": 9000,
    "limit": 8192,
    "queued": 10000,
    "status": 404,
    "code": "RepoNotFound",
    "host": "127.0.0.1",
    "port": 8080,
    "kind": Kind.OVERLOADED,
    "parameter": "input",
    "retry_after": 1,
    "wait": 3,
    "is_left": True,
}
TERMS = Argument("chunk", 512), Method("Collection.index")


def everything() -> Iterator[type[Exception]]:
    """Yield all exceptions and warnings of jlocal and its converter, those inside modules too."""
    for name in sorted(_modules()):
        importlib.import_module(name)
    waiting: list[type[Exception]] = [JlocalError, *_warnings()]
    while waiting:
        waiting.extend(waiting[0].__subclasses__())
        yield waiting.pop(0)


def _modules() -> Iterator[str]:
    """Yield the names of modules with an exception: importing all of them takes seconds."""
    for root, package in ((ROOT, "jlocal"), (ROOT / "convert", "jlocal_convert")):
        for path in (root / package).rglob("*.py"):
            # What children run imports modules that have no place here.
            is_child = path.stem.endswith(("__main__", "boot", "_child", "standalone"))
            if not is_child and EXCEPTION.search(path.read_text(encoding="utf-8")):
                yield ".".join(path.relative_to(root).with_suffix("").parts)


def _warnings() -> list[type[Exception]]:
    found = vars(errors).values()
    return [it for it in found if isinstance(it, type) and issubclass(it, Warning)]


def made(kind: type[Exception]) -> Exception:
    arguments, named = [], {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            arguments.extend(TERMS if issubclass(kind, JlocalError) else ["a warning"])
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            named[name] = VALUES[name]
        elif parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != "self":
            arguments.append(VALUES[name])
    return kind(*arguments, **named)


EVERYTHING = sorted(set(everything()), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", EVERYTHING, ids=lambda kind: kind.__name__)
def test_an_exception_comes_back_equal_from_another_process(kind: type[Exception]) -> None:
    error = made(kind)
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), again.args) == (str(error), error.args)
        assert vars(again) == vars(error)
        if isinstance(error, JlocalError):
            assert again.message.terms == error.message.terms
    assert "\n" not in str(error)


@pytest.mark.parametrize("kind", EVERYTHING, ids=lambda kind: kind.__name__)
def test_what_an_exception_is_made_with_is_an_attribute_of_it(kind: type[Exception]) -> None:
    error = made(kind)
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        is_data = parameter.kind not in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )
        if is_data and name != "self":
            assert getattr(error, name) == VALUES[name]
            assert name == "message" or _documents(kind, name)


def _documents(kind: type, name: str) -> bool:
    return any(re.search(rf"^\s+{name}: ", it.__doc__ or "", re.MULTILINE) for it in kind.__mro__)


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn: dict[str, tuple[str, set[str]]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if not (found := re.match(r"    ([│├└─ ]*)(\w+)( \(a ValueError\))? *([\w, ]*)$", line)):
            continue
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        drawn[found[2]] = (
            above[depth - 1] if depth else "",
            set(filter(None, re.split(", *", found[4]))),
        )
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, JlocalError)
    }
    assert drawn.keys() == classes.keys()
    for name, (base, data) in drawn.items():
        kind = classes[name]
        assert kind.__bases__[0].__name__ == (base or "Exception")
        own = set(vars(made(kind))) - (set(vars(made(kind.__bases__[0]))) if base else set())
        assert data == own, name


def test_an_error_of_a_text_moves_with_all_of_its_data() -> None:
    error = TextTooLongError(3, 9000, 8192)
    moved = error.at(70)
    assert type(moved) is TextTooLongError
    assert (moved.index, moved.tokens, moved.limit) == (70, 9000, 8192)
    assert str(moved) == str(error).replace("text 3", "text 70")
    assert moved.message.terms == error.message.terms
    assert error.index == 3


# What a program gets from real failures


def caught(kind: type[JlocalError], function: Callable[[], object]) -> JlocalError:
    with pytest.raises(kind) as info:
        function()
    assert "\n" not in str(info.value)
    return info.value


def test_errors_of_models_name_their_file(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    for content in (b"", b"not a GGUF file", b"GGUF\3\0\0\0" + b"\xff" * 64):
        bad.write_bytes(content)
        error = caught(ModelError, lambda: Embedder(bad))
        assert isinstance(error, FileError)
        assert error.path == bad


def test_errors_of_collections_name_their_file(tmp_path: Path, model: Embedder) -> None:
    none, text, busy = (tmp_path / name for name in ("none.db", "text.db", "busy.db"))
    text.write_text("not a database " * 80)
    for path in (none, text, tmp_path):
        error = caught(CollectionError, lambda path=path: Collection(path, model).search("x"))
        assert error.path == path
    folder = tmp_path / "notes"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.txt").write_text("a note")
    with Collection(busy, model) as collection:
        collection.index(folder)
        error = caught(InsideFolderError, lambda: collection.forget(folder / "inner"))
        assert (error.path, error.outer) == (folder / "inner", folder)
        error = caught(OtherConfigError, lambda: collection.index(folder, prompt="x: "))
        assert error.path == busy
        with sole_indexer(busy, 0):
            error = caught(BusyError, lambda: collection.index(folder, wait=False))
        assert error.path == busy


def test_errors_of_outputs_name_their_file(tmp_path: Path) -> None:
    from jlocal.outputs.atomic import atomic_write

    for path in (tmp_path, tmp_path / "none" / "a.npz"):
        error = caught(OutputError, lambda path=path: atomic_write(path).__enter__())
        assert error.path == path


def test_errors_of_arguments_name_the_argument(model: Embedder, tmp_path: Path) -> None:
    calls: dict[str, Callable[[], object]] = {
        "prompt_name": lambda: model.encode("a", prompt_name="no such"),
        "truncate_dim": lambda: model.encode("a", truncate_dim=10**6),
        "precision": lambda: model.encode("a", precision="int4"),
        "texts": lambda: model.encode({"a": "b"}),  # type: ignore[arg-type]
        "threads": lambda: Embedder(threads=0),
        "on_long": lambda: Embedder(on_long="cut"),  # type: ignore[arg-type]
        "device": lambda: Embedder(device="abacus"),
        "similarity_fn_name": lambda: Embedder(similarity_fn_name="taxicab"),
        "mode": lambda: Collection(tmp_path / "a.db").search("a", mode="guess"),  # type: ignore[arg-type]
        "n": lambda: Collection(tmp_path / "a.db").search("a", 0),
        "where": lambda: Collection(tmp_path / "a.db").search("a", where={"x": {"$like": 1}}),
        "metadata": lambda: Collection(tmp_path / "a.db", model).add(["a"], metadata=[{"": 1}]),
        "ids": lambda: Collection(tmp_path / "a.db", model).add(["a"], ids=["/root"]),
    }
    for name, call in calls.items():
        error = caught(ArgumentError, call)
        assert isinstance(error, ValueError)
        assert error.argument == name


def test_errors_of_texts_say_which_and_how_long(model: Embedder, tmp_path: Path) -> None:
    long = "word " * 40_000
    error = caught(TextTooLongError, lambda: model.encode(["a", long]))
    assert (error.index, error.limit) == (1, model.max_seq_length)
    assert error.tokens > 40_000
    with pytest.raises(TextError) as info:
        model.encode(["a", "b", None])  # type: ignore[list-item]
    assert info.value.index == 2
    returned = list(model.stream(["a", long, "\ud800"], errors="return"))
    assert isinstance(returned[0], np.ndarray)
    assert [(type(it), it.index) for it in returned[1:]] == [(TextTooLongError, 1), (TextError, 2)]
    with Collection(tmp_path / "a.db", model) as collection:
        error = caught(TextError, lambda: collection.add(["a", "b", " "]))
    assert error.index == 2
