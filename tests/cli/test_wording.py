"""Errors of commands name options, as the user types them, and no arguments of Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from jlocal.cli import cli
from support.verify_inputs import STARTER

# An argument of Python, a call, or a value as Python writes it.
PYTHON = re.compile(r"\b[a-z][a-z_]*=(?!Q\d|IQ\d)|\w\(\)|\b(True|False|None)\b|\[['\"]\w")

# Commands, and what their errors say. {F16}, {Q8_0}: models; {checkpoint}, {out}, {texts}, {empty}:
# paths.
ERRORS = [
    ("convert {checkpoint} --to Q3 -o {out}", "there is no type 'Q3'; choose from"),
    ("convert {checkpoint} --to IQ2_M -o {out}", "calibration texts (--calibrate default"),
    ("convert {checkpoint} --to F16 --calibrate default -o {out}", "do not use an importance"),
    ("convert {checkpoint} --task nothing -o {out}", "nothing"),
    ("convert {checkpoint} --to Q8_0 --imatrix {texts} --calibrate {texts} -o {out}", "--imatrix"),
    ("quantize {F16} --to Q9 -o {out}", "there is no type 'Q9'"),
    ("quantize {F16} --to IQ1_S -o {out}", "--calibrate default"),
    ("quantize {F16} --to Q4_K_M --tensor-type nothing=Q4_K -o {out}", "no name of a matrix"),
    ("quantize {F16} --to Q4_K_M --tensor-type [=Q4_K -o {out}", "not a regular expression"),
    ("quantize {F16} --to Q4_K_M --tensor-type ffn=Q3 -o {out}", "'Q3'"),
    ("quantize {F16} --to Q4_K_M --output-type Q6_K -o {out}", "use --embedding-type"),
    ("quantize {F16} --to Q4_K_M --embedding-type IQ1_S -o {out}", "token embeddings cannot be"),
    ("quantize {F16} --to Q4_K_M --save-imatrix {out} -o {out}", "name texts with --calibrate"),
    ("quantize {Q8_0} --to Q4_K_M -o {out}", "--allow-requantize"),
    (
        "quantize {F16} --target-size 0.001 --calibrate {calibration} -o {out}.gguf",
        "fits into 0.00 MB",
    ),
    ("quantize {F16} --target-size 2 -o {out}.gguf", "a target needs texts: --calibrate default"),
    ("quantize {F16} --target-size 2 --mix-of Q9 --calibrate {calibration} -o {out}.gguf", "'Q9'"),
    ("verify {F16} --texts {texts}", "leave out --texts"),
    ("verify {F16} --against {Q8_0} --task classification", "holds the adapter of"),
    ("verify {F16} --against {Q8_0} --texts {empty}", "name some with --texts|no text|empty"),
    ("bench {F16} {out}", "no such file|no model|neither"),
    ("bundle create {F16} --extras nothing -o {out}.tar", "there is no extra 'nothing'"),
    ("bundle create {F16} {F16} -o {out}.tar", "two models"),
    ("map -d {out}.db", "no such file|there is no|make it with"),
    ("embed -c a -m {F16} --dimensions 100000", "100,000|100000"),
    ("embed -c a -m {F16} --prompt nothing", "nothing"),
    ("embed -c a -m {F16} --encoding nothing", "there is no encoding 'nothing'"),
    ("embed -c a -m {F16} --precision binary --dimensions 12", "multiple of 8"),
    ("index {texts} -m {F16} -d {out}.db --chunk 3", "--chunk 3 is too small"),
    ("index {texts} -m {F16} -d {out}.db --chunk 64 --overlap 60", "--overlap"),
    ("similar a b -m {F16} --task classification", "holds the adapter of"),
    ("search a -d {out}.db", "there is no|fill it with"),
]


@pytest.fixture(scope="module")
def paths(
    starter_files: dict[str, Path],
    calibration_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wording")
    (folder / "texts.txt").write_text("A text that is long enough.\nAnother one.\n")
    (folder / "empty.txt").write_text("")
    return {
        "checkpoint": STARTER,
        "texts": folder / "texts.txt",
        "empty": folder / "empty.txt",
        "out": folder / "out",
        "calibration": calibration_file,
        **starter_files,
    }


@pytest.mark.parametrize(("command", "words"), ERRORS, ids=[command for command, _ in ERRORS])
def test_errors_name_options(command: str, words: str, paths: dict[str, Path]) -> None:
    result = CliRunner().invoke(cli, arguments(command, paths))
    assert result.exit_code in (1, 2), result.output
    message = result.stderr.replace("\n", " ")
    assert any(word in message for word in words.split("|")), message
    for path in paths.values():
        message = message.replace(str(path), "")
    assert not PYTHON.search(message), message


def arguments(command: str, paths: dict[str, Path]) -> Sequence[str]:
    return [word.format(**paths) for word in command.split()]
