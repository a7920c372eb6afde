"""`convert --verify`: files beside their checkpoint, and a card that says what they lose."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from click.testing import CliRunner

from jlocal import verify as verifying
from jlocal.cli import cli
from jlocal.errors import OutputError
from jlocal.verify.encoders import Encoded
from jlocal.verify.texts import Text
from jlocal_convert import convert
from jlocal_convert.export import model_card
from jlocal_convert.reference import CheckpointEncoder
from support.gguf_files import edit, few_tokens, replace, variant

pytestmark = pytest.mark.slow

STARTER = Path(__file__).parents[2] / "starter" / "jlocal-starter"


def rows(text: str, first: str) -> dict[str, list[str]]:
    """Return the rows of the table whose head begins so, by their first cell."""
    table = text[text.index(f"| {first} |") :].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    return {row[0]: row[1:] for row in cells}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("made")
    return convert(
        STARTER, tasks=["retrieval"], types=["F16", "Q4_K_M"], output=folder, verify=True
    )


class RememberingEncoder(CheckpointEncoder):
    """Computes the same texts once: that takes a quarter of a minute."""

    known: ClassVar[list[tuple[object, Encoded]]] = []

    def encode(
        self, texts: Sequence[Text], prompts: Mapping[str, str], *, show_progress: bool
    ) -> Encoded:
        asked = (self.info, list(texts), dict(prompts))
        for before, encoded in self.known:
            if before == asked:
                return encoded
        encoded = super().encode(texts, prompts, show_progress=show_progress)
        self.known.append((asked, encoded))
        return encoded


def test_the_card_says_what_was_measured(made: list[Path]) -> None:
    *files, card = made
    assert card.name == "README.md"
    text = card.read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["license"], front["language"]) == ("apache-2.0", ["en"])
    table = rows(text, "file")
    assert list(table) == [file.name for file in files]
    for file in files:
        report = verifying.verify(file, STARTER, open_checkpoint=RememberingEncoder)
        task, _, least, mean, recall, sha256 = table[file.name]
        assert task == "retrieval"
        assert float(least) == pytest.approx(report.overall.min, abs=2e-5)
        assert float(mean) == pytest.approx(report.overall.mean, abs=2e-5)
        assert report.neighbours is not None
        assert float(recall) == pytest.approx(report.neighbours.recall, abs=2e-3)
        assert sha256 == f"`{hashlib.sha256(file.read_bytes()).hexdigest()}`"
    assert float(table[files[0].name][2]) > 0.9999 > float(table[files[1].name][2])
    assert rows(text, "prompt") == {"query": ['`"Query: "`'], "document": ['`"Document: "`']}
    assert "jlocal convert jlocal-starter --task retrieval --to F16 --to Q4_K_M --verify" in text


def test_files_are_the_same_without_verification(made: list[Path], tmp_path: Path) -> None:
    (plain,) = convert(STARTER, types=["F16"], output=tmp_path)
    assert plain.read_bytes() == made[0].read_bytes()
    assert list(tmp_path.iterdir()) == [plain]


def test_what_a_checkpoint_says_is_no_markup(small_checkpoint, tmp_path: Path) -> None:
    folder = few_tokens(variant(small_checkpoint, tmp_path / "a|b [x](http:y) `c`"))
    prompts = {"query": "`|` a\n", "document": "D"}
    edit(folder / "config_sentence_transformers.json", prompts=prompts)
    replace(folder / "README.md", b"---\nlicense: 'a|b\n\n# c'\n---\n")
    run = CliRunner().invoke(
        cli, ["convert", str(folder), "--name", "small", "--verify", "-o", str(tmp_path / "out")]
    )
    assert run.exit_code == 0, run.output
    card = tmp_path / "out" / "README.md"
    assert run.stdout.splitlines()[-1] == str(card)
    text = card.read_text()
    assert len(rows(text, "file")) == 1
    assert rows(text, "prompt") == {"query": [r'`` "`\|` a\n" ``'], "document": ['`"D"`']}
    assert not re.search(r"^# c", text, re.MULTILINE)
    assert r"\[x\](http:y)" in text


def test_files_that_were_written_and_not_verified_are_no_success(
    nano_checkpoint, tmp_path: Path
) -> None:
    # Its padding token is none of these tokens, which only transformers minds.
    folder = few_tokens(variant(nano_checkpoint, tmp_path / "nano"))
    run = CliRunner().invoke(cli, ["convert", str(folder), "--verify", "-o", str(tmp_path / "out")])
    assert run.exit_code == 1
    assert run.stderr.startswith("Error: the files were written, but not verified: ")
    assert run.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["nano-retrieval-F16.gguf"]


def test_a_card_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match=r"README\.md exists; .*overwrite=True"):
        convert(STARTER, types=["F16"], output=tmp_path, verify=True)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_what_is_not_installed_is_missed_before_anything_is_written(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from jlocal.__main__ import main; "
        f"sys.argv[1:] = ['convert', {str(STARTER)!r}, '--verify', '-o', {str(tmp_path / 'o')!r}]; "
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "pip install 'jlocal[verify]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_the_card_names_what_the_importance_matrix_came_from(
    few_checkpoint: Path, calibration_file: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "my texts.txt"
    texts.write_bytes(calibration_file.read_bytes())
    card = convert(
        few_checkpoint,
        types=["Q4_0"],
        output=tmp_path,
        calibration=[texts, "default"],
        verify=True,
    )[-1]
    assert "--to Q4_0 --calibrate 'my texts.txt' --calibrate default --verify" in card.read_text()


@pytest.mark.parametrize(
    ("asked", "folder", "expected"),
    [
        ("some/where", "some/where", ("where", None, False)),
        ("a/b", "hub/models--a--b/snapshots/0123abc", ("a/b", "0123abc", True)),
    ],
)
def test_a_card_names_no_path_of_this_machine(asked: str, folder: str, expected: tuple) -> None:
    source = model_card.source_of(asked, Path(folder))
    assert (source.name, source.commit, source.is_repository) == expected
