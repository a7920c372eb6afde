"""Functions with many arguments: rarer ones are typed keywords, and Python's habits hold."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import typing
from pathlib import Path

import click
import pytest

import jlocal
import jlocal_convert
from jlocal import Collection, Embedder
from jlocal.bench.run import bench
from jlocal.verify import save_reference, verify

ROOT = Path(jlocal.__file__).parents[1]


def test_an_argument_of_another_name_is_a_type_error(model: Embedder, tmp_path: Path) -> None:
    from jlocal_convert.quantization.mix.search import quantize_mixture

    file, output = model.profile.path, tmp_path / "out"
    calls = {
        "convert": lambda: jlocal_convert.convert(tmp_path, output=output, typos=1),  # type: ignore[call-arg]
        "quantize": lambda: jlocal_convert.quantize(file, types=["Q8_0"], output=output, typos=1),  # type: ignore[call-arg]
        "quantize_mixture": lambda: quantize_mixture(file, output=output, size=1, typos=1),  # type: ignore[call-arg]
        "index": lambda: Collection(tmp_path / "a.db", model).index(tmp_path, typos=1),  # type: ignore[call-arg]
        "stream": lambda: model.stream(["a"], typos=1),  # type: ignore[call-overload]
        "verify": lambda: verify(file, typos=1),  # type: ignore[call-arg]
        "save_reference": lambda: save_reference(file, tmp_path / "a.npz", typos=1),  # type: ignore[call-arg]
        "bench": lambda: bench([file], typos=1),  # type: ignore[call-arg]
    }
    for name, call in calls.items():
        with pytest.raises(
            TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'typos'"
        ):
            call()
    assert list(tmp_path.iterdir()) == []


def test_typed_keywords_are_those_that_are_taken() -> None:
    """A TypedDict is what editors show, and a dataclass what the function makes of it."""
    from jlocal.collection import indexed
    from jlocal.embed import embedder, options
    from jlocal_convert.export import run
    from jlocal_convert.quantization import importance
    from jlocal_convert.quantization.mix import options as mix

    pairs = [
        (options.ComputeArguments, options.ComputeOptions),
        (embedder.StreamArguments, embedder._StreamOptions),
        (indexed.IndexArguments, indexed._IndexOptions),
        (importance.ImportanceArguments, importance.ImportanceOptions),
        (mix.MixtureArguments, mix.MixtureOptions),
        (run.ConvertArguments, run._ConvertOptions),
    ]
    for arguments, taken in pairs:
        assert typing.is_typeddict(arguments)
        fields = {field.name: field.type for field in dataclasses.fields(taken)}
        shown = arguments.__annotations__
        assert {name: it.__forward_arg__ for name, it in shown.items()} == fields


def test_only_commands_and_the_signatures_of_others_have_many_arguments() -> None:
    of_others, of_click = re.compile(r"encode\w*|__init__"), re.compile(r"\w+\.command\(")
    for path in [*(ROOT / "jlocal").rglob("*.py"), *(ROOT / "convert").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if "PLR0913" not in text:
            continue
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and "PLR0913" in lines[node.lineno - 1]:
                decorators = map(ast.unparse, node.decorator_list)
                is_command = any(map(of_click.match, decorators))
                assert is_command or of_others.fullmatch(node.name), (path, node.name)
                assert node.name != "__init__" or path.name == "embedder.py"


def test_all_keywords_are_in_the_docstrings() -> None:
    from jlocal.collection.indexed import IndexArguments
    from jlocal.embed.embedder import StreamArguments
    from jlocal_convert.export.run import ConvertArguments
    from jlocal_convert.quantization.importance import ImportanceArguments

    for function, arguments in (
        (Collection.index, IndexArguments),
        (Embedder.stream, StreamArguments),
        (jlocal_convert.convert, ConvertArguments),
        (jlocal_convert.quantize, ImportanceArguments),
    ):
        section = (function.__doc__ or "").partition("Keyword Args:")[2].partition("Raises:")[0]
        named = re.findall(r"^ +(\w+): ", section.partition("Returns:")[0], re.MULTILINE)
        assert set(named) == set(arguments.__annotations__)


def test_each_option_of_a_command_is_an_argument_of_its_function() -> None:
    """What falls into `**compute` must be an argument of ComputeOptions."""
    from jlocal.cli import cli
    from jlocal.embed.options import ComputeOptions

    computed = {field.name for field in dataclasses.fields(ComputeOptions)}
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        arguments = inspect.signature(inspect.unwrap(command.callback)).parameters.values()
        named = {it.name for it in arguments if it.kind is not it.VAR_KEYWORD}
        rest = computed if len(named) < len(arguments) else set()
        given = {option.name for option in command.params if option.expose_value}
        assert given - named <= rest, name
