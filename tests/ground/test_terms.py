"""Messages: the library names arguments, the command line names options."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import jlocal
from jlocal import errors
from jlocal.cli import flags
from jlocal.errors import (
    ArgumentError,
    JlocalError,
    TextError,
    TextTooLongError,
    TruncationWarning,
    VerifyError,
)
from jlocal.terms import Argument, Message, Method

ROOT = Path(jlocal.__file__).parents[1]
# What is said of other programs, and of commands that Python has no function for.
COMMAND = re.compile(
    r"`[^`]*`|\b(llm|pip|python -m|llama-imatrix|jlocal (pull|bundle|index))\b.*", re.DOTALL
)
OPTION = re.compile(r"(?:^|[\s(])--?[a-z][a-z-]*\b")


def test_the_command_line_names_options_for_arguments() -> None:
    chunk, prune = Argument("chunk", 512), Argument("prune", True)
    calibration, index = Argument("calibration", ["default"]), Method("Collection.index")
    error = ArgumentError(
        f"{chunk}, {prune}, {calibration}, {index}", chunk, prune, calibration, index
    )
    assert str(error) == "chunk=512, prune=True, calibration=['default'], Collection.index()"
    assert flags.message(error).startswith(
        "--chunk 512, --prune, --calibrate default, jlocal index"
    )
    model = Argument("model")
    assert str(CASE := ArgumentError(f"name one with {model}", model)) == "name one with model="
    assert flags.message(CASE) == "name one with -m"


def test_only_the_terms_of_a_message_are_reworded() -> None:
    path = "task=retrieval/model=small.txt"
    chunk = Argument("chunk", 512)
    error = ArgumentError(f"{path}: use {chunk}", chunk)
    assert flags.message(error) == f"{path}: use --chunk 512"
    assert flags.worded("chunk=512") == "chunk=512"


def test_a_longer_term_is_not_cut_by_a_shorter_one() -> None:
    terms = Argument("chunk"), Argument("chunk", 512)
    assert flags.worded(Message("chunk= or chunk=512", *terms)) == "--chunk or --chunk 512"


def test_the_reason_of_a_text_error_keeps_its_terms() -> None:
    error = TextTooLongError(3, 9000, 8192)
    assert str(error).endswith("cut it with on_long='truncate'")
    assert flags.message(error).endswith("cut it with --on-long truncate")
    assert flags.worded(error.reason).endswith("cut it with --on-long truncate")


@pytest.mark.parametrize(
    "error",
    [
        ArgumentError("x", Argument("a", 1)),
        TextError("is bad", 3),
        TextTooLongError(1, 9000, 8192),
        TruncationWarning(1, 9000, 8192),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_from_another_process(error: Exception) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert {**vars(again), "message": 0} == {**vars(error), "message": 0}
        if isinstance(error, JlocalError):
            assert flags.message(again) == flags.message(error)


# Commands of a shell, which the library prints as such: they are to be copied.
SHELL = {"jlocal/doctor/probe.py", "convert/jlocal_convert/export/model_card.py"}
# Child processes, which say errors in bytes; their parents have checked the model before.
CHILDREN = {"jlocal/bench/measure.py", "jlocal/embed/probe.py", "jlocal/llama/trial_child.py"}
PROGRAMS = (
    ROOT / "jlocal" / "cli",
    ROOT / "jlocal" / "server",
    ROOT / "jlocal" / "bundle" / "standalone.py",
)
# Words of Python; `ffn_down=Q6_K` is a value of --tensor-type.
PYTHON = re.compile(r"\b[a-z_]+=(True|None|'|X|\d)|\b\w+\(\)|\b[a-z]+_[a-z_]+=(?!Q6_K)")


def modules(*, of_programs: bool) -> Iterator[tuple[str, ast.Module]]:
    for path in [*(ROOT / "jlocal").rglob("*.py"), *(ROOT / "convert").rglob("*.py")]:
        if bool({path, *path.parents}.intersection(PROGRAMS)) == of_programs:
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_no_text_of_the_library_names_an_option() -> None:
    found = {
        f"{name}: {text}"
        for name, tree in modules(of_programs=False)
        for text in (*_messages(tree), *(() if name in SHELL else _sentences(tree)))
        if OPTION.search(COMMAND.sub("", text))
    }
    assert not found


def test_no_text_of_the_command_line_names_an_argument_of_python() -> None:
    found = {
        f"{name}: {text}"
        for name, tree in modules(of_programs=True)
        for text in _sentences(tree)
        if PYTHON.search(text)
    }
    assert not found


def test_a_message_that_quotes_another_keeps_its_terms() -> None:
    task = Argument("task")
    cause = ArgumentError(f"choose with {task}", task)
    with pytest.raises(VerifyError) as caught:
        raise VerifyError(f"not verified: {cause}") from cause
    assert flags.message(caught.value) == "not verified: choose with --task"


@pytest.mark.slow
def test_no_text_loses_the_terms_of_an_error_that_it_quotes() -> None:
    found = {
        f"{name}:{line}"
        for of_programs in (True, False)
        for name, tree in modules(of_programs=of_programs)
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler) and handler.name and _of_ours(handler.type)
        for line in _lost_quotes(handler, str(handler.name))
        if name not in {*CHILDREN, "jlocal/server/app.py"}  # the log of the server
    }
    assert not found


@pytest.mark.slow
def test_an_error_of_an_argument_names_it() -> None:
    unnamed = {
        f"{name}: {ast.unparse(node)}"
        for name, tree in modules(of_programs=False)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "ArgumentError"
        and "argument" not in (keyword.arg for keyword in node.keywords)
    }
    # An error of two arguments, size and cosine.
    assert {name.partition(":")[0] for name in unnamed} == {
        "convert/jlocal_convert/quantization/mix/options.py"
    }


def _of_ours(types: ast.AST | None) -> bool:
    names = (getattr(getattr(errors, name, None), "__mro__", ()) for name in _names(types))
    return any(JlocalError in classes for classes in names)


def _names(types: ast.AST | None) -> Iterator[str]:
    return (node.id for node in ast.walk(types or ast.Pass()) if isinstance(node, ast.Name))


def _lost_quotes(node: ast.AST, error: str) -> Iterator[int]:
    """Yield the lines that put an error's text into another and pass on neither it nor its terms.

    What is raised from the error, takes it as its cause, or is given `terms` says them again.
    """
    if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Name) and node.cause.id == error:
        return
    if isinstance(node, ast.Call):
        passed = [*node.args, *(keyword.value for keyword in node.keywords)]
        if any(isinstance(value, ast.Name) and value.id == error for value in passed[1:]) or any(
            isinstance(value, ast.Starred) and "terms" in ast.unparse(value) for value in passed
        ):
            return
        if ast.unparse(node) == f"str({error})":
            yield node.lineno
    if isinstance(node, ast.FormattedValue) and ast.unparse(node.value) == error:
        yield node.lineno
    for inner in ast.iter_child_nodes(node):
        yield from _lost_quotes(inner, error)


def _messages(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if re.search(r"(Error|Warning|Message|Unreadable|BadRecord)$", name):
                yield from _strings(node)


def _sentences(tree: ast.Module) -> Iterator[str]:
    """Yield all texts of several words but docstrings, wherever they stand."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            del node.body[0]
    yield from (text for text in _strings(tree) if " " in text.strip())


def _strings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        yield "".join(map(str, parts))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _strings(inner)
