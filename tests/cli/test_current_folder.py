"""Nothing that lies in the current folder is run, whatever it is called."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal.bundle import standalone
from jlocal.cli import _COMMANDS
from support.bundles import MEMBERS, manifest, pack
from support.hostile_folder import Trap, everything, imported_at_start
from support.hub import serve

pytestmark = pytest.mark.slow

JLOCAL = Path(sysconfig.get_path("scripts")) / ("jlocal.exe" if os.name == "nt" else "jlocal")
HUB_NAME = "jinaai/jina-embeddings-v5-text-small-retrieval-GGUF"

# In this order; later ones use what earlier ones have made. The last is the expected status.
WALK: dict[str, tuple[list[str], int]] = {
    "embed": (["notes", "-o", "v.npz"], 0),
    "embed lines": (["-i", "notes/a.txt", "-c", "x"], 0),
    "cluster embed": (["notes/a.txt", "c", "--part", "1/1"], 0),
    "similar": (["a cat", "a kitten"], 0),
    "index": (["notes", "-d", "n.db"], 0),
    "search": (["cat", "-d", "n.db", "--json"], 0),
    "update": (["-d", "n.db"], 0),
    "watch": (["-d", "none.db"], 1),
    "status": (["-d", "n.db"], 0),
    "collections": (["list"], 0),
    "map": (["-d", "n.db", "-o", "map.html", "--clusters", "2"], 0),
    "export": (["-d", "n.db", "-o", "n.parquet"], 0),
    "import": (["n.parquet", "-d", "copy.db"], 0),
    "export llm": (["-d", "n.db", "--llm", "llm.db"], 0),
    "export lancedb": (["-d", "n.db", "--lancedb", "lance"], 0),
    "export qdrant": (["-d", "n.db", "--qdrant", "qdrant"], 0),
    "forget": (["notes", "-d", "n.db", "-y"], 0),
    "show": (["MODEL"], 0),
    "quantize": (["F16", "--to", "Q4_0", "-o", "made"], 0),
    "convert": (["CHECKPOINT", "--to", "Q4_1", "-o", "made"], 0),
    "bundle create": (["MODEL", "-o", "b.tar"], 0),
    "bundle verify": (["b.tar"], 0),
    "bundle install": (["b.tar"], 0),
    # Without an index pip cannot make the wheels; it is run, though.
    "bundle create wheels": (["--with-wheels", "--native", "--offline", "-o", "w.tar"], 1),
    "list": ([], 0),
    "verify": (["MODEL", "--against", "MODEL", "--texts", "notes/a.txt", "--plot", "p.png"], 0),
    # It imports everything, and these files are no set.
    "mteb": (["MODEL", "--task", "notes"], 1),
    "doctor": (["MODEL"], 0),
    "bench": (["MODEL", "--seconds", "0.1"], 0),
    # It imports everything, and cannot listen there.
    "serve": (["-m", "MODEL", "--host", "192.0.2.1", "--no-auth"], 1),
    "mcp": (["-d", "n.db"], 0),
    "pull": (["small", "--yes"], 0),
    "rm": (["small-retrieval:Q8_0", "--yes"], 0),
}


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    folder = tmp_path / "here"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "a.txt").write_text("A cat.\nA kitten.\nA stock exchange.\n" * 8)
    (folder / "notes" / "b.html").write_text("<p>A page about dogs.</p>")
    return Trap(folder)


@pytest.fixture
def run(trap: Trap) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)),
            cwd=trap.folder, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_every_command_is_walked() -> None:
    assert {name.split()[0] for name in WALK} == set(_COMMANDS)


def test_no_command_runs_a_file_of_the_current_folder(
    trap: Trap, run, few: Path, few_checkpoint: Path, starter_files: dict[str, Path], tmp_path: Path
) -> None:
    model = starter_files["Q8_0"]
    (tmp_path / "hub").mkdir()
    published = tmp_path / "hub" / "v5-small-retrieval-Q8_0.gguf"
    published.write_bytes(model.read_bytes())
    places = {"MODEL": model, "F16": few, "CHECKPOINT": few_checkpoint}
    with serve({HUB_NAME: published.parent}) as (endpoint, _):
        for name, (words, status) in WALK.items():
            command = name.split()[: 2 if name.startswith(("bundle", "cluster")) else 1]
            arguments = [places.get(word, word) for word in words]
            done = run(JLOCAL, *command, *arguments, HF_ENDPOINT=endpoint, JLOCAL_MODEL=str(model))
            assert trap.sprung() == [], name
            assert done.returncode == status, (name, done.stderr)
            assert "Traceback" not in done.stderr, name


@pytest.mark.parametrize("entry", ["", ".", os.pathsep])
def test_an_entry_for_the_current_folder_is_dropped(entry: str, tmp_path: Path) -> None:
    """`PYTHONPATH=$PYTHONPATH:/x` has one, where there was none before."""
    # The script that pip makes imports some of the standard library before it begins with jlocal.
    started = {*imported_at_start(tmp_path / "bare"), *sys.stdlib_module_names, "jlocal"}
    trap = Trap(tmp_path / "here", everything() - started)
    done = subprocess.run(
        [JLOCAL, "show", "--json"],
        cwd=trap.folder, env={**os.environ, "PYTHONPATH": entry}, check=False, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, trap.sprung()) == (0, [])


def test_a_module_is_run_without_the_current_folder(tmp_path: Path) -> None:
    """`python -m` itself looks here for jlocal and for what finds it; for nothing more after."""
    trap = Trap(tmp_path / "here", everything() - imported_at_start(tmp_path / "bare") - {"jlocal"})
    for arguments in (["--help"], ["show", "--json"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "jlocal", *arguments],
            cwd=trap.folder, check=False, capture_output=True,
        )  # fmt: skip
        assert (done.returncode, trap.sprung()) == (0, [])


NEEDS = {
    "jlocal": "0.1.0",
    "python": f"3.{sys.version_info[1]}",
    "platform": sysconfig.get_platform().replace("-", "_").replace(".", "_"),
    "cpu": None,
}


def wheel(folder: Path) -> bytes:
    """Make the smallest wheel, with a `jlocal` that does nothing."""
    with zipfile.ZipFile(folder / "w.whl", "w") as file:
        info = "jlocal-1.dist-info"
        file.writestr("jlocal/__init__.py", "")
        file.writestr("jlocal/__main__.py", "")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: jlocal\nVersion: 1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"{info}/RECORD,,\n")
    return (folder / "w.whl").read_bytes()


def test_the_installer_runs_no_file_beside_it(trap: Trap, run, tmp_path: Path) -> None:
    members = MEMBERS | {"wheels/jlocal-1-py3-none-any.whl": wheel(tmp_path)}
    (trap.folder / "b.tar").write_bytes(pack(manifest(members, program=NEEDS), members))
    (trap.folder / "install.py").write_bytes(Path(standalone.__file__).read_bytes())
    done = run(sys._base_executable, "install.py", "b.tar")
    assert (done.returncode, trap.sprung()) == (0, []), done.stderr
    assert (trap.folder / "jlocal-venv" / "pyvenv.cfg").exists()
    # An environment that is here already may be a stranger's, and its Python anything.
    done = run(sys._base_executable, "install.py", "b.tar")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: b.tar: jlocal-venv is here; to install into it: --venv jlocal-venv\n"
    )


@pytest.mark.parametrize("command", [["install.py"], ["-m", "install"], ["./install.py"]])
@pytest.mark.parametrize("entry", [None, ".", "{here}"])
def test_the_installer_imports_from_the_standard_library_alone(
    command: list[str], entry: str | None, tmp_path: Path
) -> None:
    started = imported_at_start(tmp_path / "bare", sys._base_executable)
    trap = Trap(tmp_path / "here", everything() - started)
    (trap.folder / "install.py").write_bytes(Path(standalone.__file__).read_bytes())
    variables = {} if entry is None else {"PYTHONPATH": entry.format(here=trap.folder)}
    done = subprocess.run(
        [sys._base_executable, *command, "none.tar"],
        cwd=trap.folder, env={**os.environ, **variables}, check=False, capture_output=True,
    )  # fmt: skip
    assert (done.stderr, trap.sprung()) == (b"Error: none.tar: no such file\n", [])
