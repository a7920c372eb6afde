"""Child processes: where they import from, what bounds them, and when they end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jlocal import child

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has these limits")


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on the search path, for modules that a test writes."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def write(folder: Path, name: str, source: str) -> str:
    (folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
    return name


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["", ".", "{here}"])
def test_a_module_of_the_current_folder_is_not_imported(
    entry: str, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "jlocal").mkdir(parents=True)
    for file in ("jlocal/__init__.py", "numpy.py", "json.py"):
        (here / file).write_text("raise SystemExit('taken from the current folder')\n")
    module = write(modules, "asks", "import json, numpy, jlocal; print(jlocal.__file__)")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [entry.format(here=here), *sys.path])
    done = child.run(module)
    assert (done.status, done.stderr) == (0, "")
    assert Path(done.stdout.decode().strip()).parent == Path(child.__file__).parent


def test_the_variables_of_python_do_not_reach_a_child(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "sitecustomize", "raise SystemExit('taken from PYTHONPATH')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert child.run(write(modules, "runs", "print('ran')")).stdout == b"ran\n"


def test_it_reads_its_input_and_sees_its_arguments(modules: Path) -> None:
    module = write(modules, "echoes", "import sys; print(sys.argv[1:], sys.stdin.read())")
    done = child.run(module, "one", "two words", data=b"given")
    assert done.stdout.decode().strip() == "['one', 'two words'] given"


def test_a_child_that_takes_too_long_is_ended(modules: Path, tmp_path: Path) -> None:
    source = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(60)"
    module = write(modules, "sleeps", source)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="not done within 1 seconds"):
        child.run(module, str(tmp_path / "pid"), limits=child.Limits(seconds=1))
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_it_leaves_no_compiled_modules(modules: Path) -> None:
    """Its output is bounded, and Python would keep a module that was written only in part."""
    write(modules, "helper", "word = 'done'")
    done = child.run(write(modules, "main", "import helper; print(helper.word)"))
    assert done.stdout.split() == [b"done"]
    assert not (modules / "__pycache__").exists()


@LINUX
def test_its_memory_is_bounded(modules: Path) -> None:
    module = write(modules, "takes", "bytearray(1 << 30)")
    done = child.run(module, limits=child.Limits(memory=512 << 20))
    assert done.status == 1
    assert "MemoryError" in done.stderr


@LINUX
@pytest.mark.parametrize("stream", [1, 2])
def test_its_output_is_bounded(modules: Path, stream: int) -> None:
    module = write(modules, "fills", f"import os\nwhile True: os.write({stream}, bytes(1 << 20))")
    done = child.run(module, limits=child.Limits(output=4 << 20))
    assert done.status != 0
    assert max(len(done.stdout), len(done.stderr)) <= 4 << 20


@LINUX
def test_it_ends_with_a_parent_that_is_killed(modules: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    source = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(60)"
    module = write(modules, "sleeps", source)
    code = f"import sys; sys.path[:] = {sys.path!r}; from jlocal import child; "
    code += f"child.run({module!r}, {str(pid)!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        while not (pid.exists() and pid.read_text().strip()):
            assert parent.poll() is None
            time.sleep(0.02)
        parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid.read_text().strip()}").exists():
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.02)
