"""What an extra installs is missing: everyone who needs it says which command installs it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest

import jlocal
from jlocal import Collection, Embedder, extras, mcp, server
from jlocal.errors import ExtraError

ROOT = Path(jlocal.__file__).parents[1]
MAIN = "import sys; sys.modules[{!r}] = None; from jlocal.__main__ import main; main()"


def hide(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    for module in extras.MODULES[extra]:
        for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
            monkeypatch.setitem(sys.modules, name, None)


def test_each_extra_of_the_project_has_its_modules_and_its_packages() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(project["optional-dependencies"])
    assert set(extras.MODULES) == named - {"files"}  # which is made of others
    assert all(extras.is_installed(extra) for extra in extras.MODULES)


def read_document(name: str) -> Callable[[Path, Embedder], object]:
    from jlocal.inputs.formats import require_reader

    return lambda folder, model: require_reader(folder / name)


def write_parquet(folder: Path, model: Embedder) -> None:
    from jlocal.outputs.writers import open_writer

    with open_writer(folder / "v.parquet", "parquet", {}):
        pass


def lay_out(folder: Path, model: Embedder) -> None:
    from jlocal.map.projection import umap

    umap(np.eye(8, dtype=np.float32), 1)


def watch_folders(folder: Path, model: Embedder) -> None:
    from jlocal.collection.watch import check_installed

    check_installed()


def encode_tensor(folder: Path, model: Embedder) -> None:
    model.encode(["a"], convert_to_tensor=True)


def verify_checkpoint(folder: Path, model: Embedder) -> None:
    from jlocal_convert.reference import need_packages

    need_packages()


def plot(folder: Path, model: Embedder) -> None:
    from jlocal.verify.plot import check_plot

    check_plot(folder / "a.svg")


def export_to(name: str) -> Callable[[Path, Embedder], object]:
    module = importlib.import_module(f"jlocal.collection.{name}")
    export = getattr(module, f"export_to_{name}")
    return lambda folder, model: export(folder / "n.db", folder / "made", "notes")


def integration(name: str) -> Callable[[Path, Embedder], object]:
    module = f"jlocal.integrations.{name.replace('-', '_')}"

    def use(folder: Path, model: Embedder) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(sys.modules, module, raising=False)
            importlib.import_module(module)

    return use


INTEGRATIONS = (
    *("chroma", "haystack", "lancedb", "langchain", "llama-index", "llm", "mteb"),
    *("ray", "sentence-transformers", "txtai"),
)
USES: dict[str, Callable[[Path, Embedder], object]] = {
    **{name: export_to(name) for name in ("lancedb", "qdrant")},
    "html": read_document("a.html"),
    "office": read_document("a.docx"),
    "pdf": read_document("a.pdf"),
    "parquet": write_parquet,
    "map": lay_out,
    "mcp": lambda folder, model: mcp.check_installed(),
    "serve": lambda folder, model: server.check_installed(),
    "watch": watch_folders,
    "torch": encode_tensor,
    "verify": verify_checkpoint,
    "plot": plot,
}
CASES = [*USES.items(), *((extra, integration(extra)) for extra in INTEGRATIONS)]


def test_each_extra_has_a_case() -> None:
    assert {extra for extra, _ in CASES} == set(extras.MODULES)


@pytest.mark.parametrize(("extra", "use"), CASES, ids=[extra for extra, _ in CASES])
def test_python_is_told_which_extra_is_missing(
    extra: str,
    use: Callable[[Path, Embedder], object],
    tmp_path: Path,
    model: Embedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, extra)
    with pytest.raises(ExtraError) as caught:
        use(tmp_path, model)
    assert caught.value.extra == extra
    assert f"pip install 'jlocal[{extra}]'" in str(caught.value)
    assert "\n" not in str(caught.value)


COMMANDS = {
    "html": ("embed", "a.html", "-m", "starter"),
    "office": ("embed", "a.docx", "-m", "starter"),
    "pdf": ("embed", "a.pdf", "-m", "starter"),
    "parquet": ("embed", "a.txt", "-o", "a.parquet", "-m", "starter"),
    "map": ("map", "-d", "n.db", "--method", "umap"),
    "mcp": ("mcp",),
    "mteb": ("mteb", "starter", "--task", "a.txt"),
    "lancedb": ("export", "-d", "n.db", "--lancedb", "made"),
    "qdrant": ("export", "-d", "n.db", "--qdrant", "made"),
    "ray": ("cluster", "embed", "a.txt", "vectors"),
    "serve": ("serve",),
    "watch": ("watch", "-d", "n.db"),
    "verify": ("verify", "starter", "--against", "."),
    "plot": ("verify", "starter", "--plot", "a.svg"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Embedder) -> Path:
    made = tmp_path_factory.mktemp("extras")
    for name in ("a.html", "a.docx", "a.pdf"):
        (made / name).write_text("<p>text</p>")
    (made / "a.txt").write_text("a text")
    (made / "notes").mkdir()
    for number in range(9):
        (made / "notes" / f"{number}.txt").write_text(f"note {number} of nine")
    (made / "config.json").write_text("{}")
    with Collection(made / "n.db", model) as collection:
        collection.index(made / "notes")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(COMMANDS))
def test_the_command_line_says_which_command_installs_what_is_missing(
    extra: str, folder: Path
) -> None:
    code = MAIN.format(extras.MODULES[extra][0])
    command = [sys.executable, "-c", code, *COMMANDS[extra]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"pip install 'jlocal[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_torch_is_missed_before_a_text_is_computed(
    model: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "torch")

    def texts():
        raise AssertionError("a text was read")
        yield

    with pytest.raises(ExtraError):
        model.encode(texts(), convert_to_tensor=True)  # type: ignore[arg-type]


def test_a_broken_package_is_told_from_a_missing_one() -> None:
    with pytest.raises(ExtraError, match=r"\(DLL load failed\)$"), extras.importing("pdf", "x"):
        raise ImportError("DLL load\nfailed")
    with pytest.raises(ExtraError, match=r"\]'$"), extras.importing("pdf", "x"):
        import no_such_module  # type: ignore[import-not-found] # noqa: F401


def test_an_email_names_the_extra_for_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from jlocal.inputs.mail import read

    hide(monkeypatch, "html")
    mail = EmailMessage()
    mail["Subject"] = "A page"
    mail.set_content("<p>page</p>", subtype="html")
    (loss,) = read(bytes(mail))["losses"]  # type: ignore[misc]
    assert "pip install 'jlocal[html]'" in loss


@pytest.mark.slow
def test_only_one_place_knows_how_an_extra_is_installed() -> None:
    found = []
    for path in [*(ROOT / "jlocal").rglob("*.py"), *(ROOT / "convert").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ExtraError":
                found.append(path.relative_to(ROOT).as_posix())
    assert found == ["jlocal/extras.py"]
