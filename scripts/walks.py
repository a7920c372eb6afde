"""Count the files that a reader must open to follow each of four walks through the code.

`python scripts/walks.py [-v]` runs each walk under a profiler. A file is counted if one of its
functions is called, not if it is only imported. A turn back is a call into a file that the walk
entered earlier than the caller's file: the reader has to go back.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import jlocal
import jlocal_convert

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "starter" / "jlocal-starter"
OURS = tuple(str(Path(str(package.__file__)).parent) for package in (jlocal, jlocal_convert))


def follow(walk: Callable[[], object]) -> tuple[list[str], int]:
    """Run a walk; return its files in the order of their first calls, and its turns back."""
    # Classes are made by the first run, which imports them.
    walk()
    calls: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(OURS) and frame.f_code.co_name != "<module>":
            caller = frame.f_back.f_code.co_filename if frame.f_back else ""
            calls[caller, file] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        walk()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    order = {file: number for number, file in enumerate(dict.fromkeys(f for _, f in calls))}
    back = sum(order.get(caller, -1) > order[file] for caller, file in calls)
    return list(order), back


def main() -> None:
    """Follow the four walks and print a table; `-v` names the files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notes = folder / "notes"
        notes.mkdir()
        (notes / "cats.md").write_text("# Cats\n\nA cat sleeps.\n")

        def embed() -> None:
            with jlocal.Embedder("starter") as model:
                model.encode("A cat sleeps.")

        def index_and_search() -> None:
            (folder / "notes.db").unlink(missing_ok=True)
            with jlocal.Collection(folder / "notes.db", model="starter") as collection:
                collection.index([notes])
                collection.search("cat")

        def convert() -> None:
            jlocal_convert.convert(
                CHECKPOINT, types=("F16",), output=folder / "models", overwrite=True
            )

        def quantize() -> None:
            (source,) = (folder / "models").glob("*retrieval-F16.gguf")
            jlocal_convert.quantize(
                source, types=("Q8_0",), output=folder / "models", overwrite=True
            )

        walks = {
            "a text through embed": embed,
            "a file through index and search": index_and_search,
            "a tensor through convert": convert,
            "a matrix through quantize": quantize,
        }
        for title, walk in walks.items():
            files, back = follow(walk)
            print(f"{title:32} {len(files):3} files  {back:3} turns back")
            if "-v" in sys.argv[1:]:
                for file in files:
                    print(f"    {file.removeprefix(str(ROOT))[1:]}")


if __name__ == "__main__":
    main()
