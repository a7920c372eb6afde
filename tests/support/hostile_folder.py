"""A hostile folder: modules under every name that a program may import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


class Trap:
    """Modules in a folder, each of which leaves its name in a file when it is run."""

    def __init__(self, folder: Path, names: Iterable[str] | None = None) -> None:
        self.folder = folder
        self._marks = folder.parent / f"{folder.name}.marks"
        for name in everything() if names is None else names:
            mark = f"open({str(self._marks)!r}, 'a').write({name!r} + '\\n')\n"
            package = folder / name / "__init__.py"
            # As a module and as a package; Python prefers the package.
            package.parent.mkdir(parents=True, exist_ok=True)
            package.write_text(mark)
            (folder / name / "__main__.py").write_text(mark)
            (folder / f"{name}.py").write_text(mark)

    def sprung(self) -> list[str]:
        """Return the names of the modules that were run."""
        return sorted(set(self._marks.read_text().split())) if self._marks.exists() else []


def everything() -> set[str]:
    """Return the top-level modules of the standard library and of all installed packages."""
    names = {*sys.stdlib_module_names, *metadata.packages_distributions()}
    names |= {"sitecustomize", "usercustomize"}
    return {name for name in names if name.isidentifier()} | {"jlocal", "convert", "pip", "venv"}


def imported_at_start(folder: Path, python: str = sys.executable) -> set[str]:
    """Name what Python itself imports before it runs a module that it was told to run with `-m`.

    Where it looks for them is no choice of the module's.
    """
    folder.mkdir()
    (folder / "asks.py").write_text("import sys; print(*sys.modules)")
    command = [python, "-m", "asks"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stdout.split()}
    # The second two are tried, and are nowhere but on Windows.
    return names | {"sitecustomize", "usercustomize", "nt", "_winapi"}
