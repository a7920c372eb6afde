"""Optional packages, and the extras of jlocal that install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jlocal.errors import ExtraError

if TYPE_CHECKING:
    from jlocal.terms import Term

# The modules that each extra of pyproject.toml installs.
MODULES = {
    "chroma": ("chromadb",),
    "haystack": ("haystack",),
    "html": ("resiliparse",),
    "lancedb": ("lancedb", "pyarrow"),
    "langchain": ("langchain_core",),
    "llama-index": ("llama_index",),
    "llm": ("llm",),
    "map": ("umap",),
    "mcp": ("mcp",),
    "mteb": ("mteb", "datasets"),
    "office": ("anydoc",),
    "parquet": ("pyarrow",),
    "pdf": ("pypdfium2",),
    "plot": ("matplotlib",),
    "qdrant": ("qdrant_client",),
    "ray": ("ray", "pyarrow"),
    "serve": ("starlette", "uvicorn", "httptools", "orjson", "prometheus_client"),
    "sentence-transformers": ("sentence_transformers", "torch"),
    "torch": ("torch",),
    "txtai": ("txtai",),
    "verify": ("torch", "transformers", "peft", "tokenizers", "safetensors"),
    "watch": ("watchfiles",),
}


def is_installed(extra: str) -> bool:
    """Whether all modules of an extra can be found; none of them is imported."""
    return all(importlib.util.find_spec(module) for module in MODULES[extra])


def pip_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'jlocal[{extra}]'"


def missing(extra: str, needs: str, *terms: Term, instead: str = "", cause: str = "") -> ExtraError:
    """Make the error that names the command to install an extra.

    Args:
        extra: its name.
        needs: who needs it, with the verb: "watching needs", "PDF files need".
        terms: arguments and methods of the Python interface in `needs` and `instead`.
        instead: what can be done without the extra.
        cause: why an import failed although the package is there.

    """
    message = f"{needs}: {pip_command(extra)}"
    message += f" ({cause})" if cause else ""
    message += f"; {instead}" if instead else ""
    return ExtraError(message, *terms, extra=extra)


def require(extra: str, needs: str, *terms: Term, instead: str = "") -> None:
    """Check that an extra is installed, without importing it.

    Args:
        extra: its name.
        needs: as in `missing`.
        terms: as in `missing`.
        instead: as in `missing`.

    Raises:
        ExtraError: it is not.

    """
    if not is_installed(extra):
        raise missing(extra, needs, *terms, instead=instead)


@contextmanager
def importing(extra: str, needs: str, *terms: Term) -> Iterator[None]:
    """Import modules of an extra inside this context.

    Args:
        extra: its name.
        needs: as in `missing`.
        terms: as in `missing`.

    Raises:
        ExtraError: they are not installed, or installed and broken.

    """
    try:
        yield
    except ImportError as error:
        # The name of a missing module says no more than the command does.
        cause = "" if isinstance(error, ModuleNotFoundError) else " ".join(str(error).split())
        raise missing(extra, needs, *terms, cause=cause[:200]) from error
