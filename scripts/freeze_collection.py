"""Store a small collection of the current format in tests/data, for tests of later formats.

    python scripts/freeze_collection.py

Run it before you add a step to jlocal/collection/database/migrations.py. The collection has every
kind of content: a Markdown file with headings, records, names and texts that are not ASCII, the
same text twice, a removed document, a folder with filters, and an added text with metadata.
"""

from __future__ import annotations

import lzma
import shutil
import sys
import tempfile
from pathlib import Path

from jlocal import Collection
from jlocal.collection.database.schema import VERSION
from jlocal.models.starter import FILE

_ROOT = Path(__file__).parents[1]
_NOTES = {
    "garden/roses.md": "# Garden\n\n## Roses\n\nPrune the roses in March, before the buds open.\n",
    "garden/greenhouse.txt": "The greenhouse needs two new panes of glass before the winter.\n",
    "backups.md": "# Computers\n\n## Backups\n\nThe laptop is saved to the disk in the cellar "
    "every Sunday, and a copy of that is kept at the office.\n\n## Printer\n\nThe toner is low.\n",
    "packing.txt": "Packing list: passport, rain coat, two books.\n",
    "copy of packing.txt": "Packing list: passport, rain coat, two books.\n",
    "café.txt": "Das Café an der Ecke röstet den Kaffee selbst.\n",
    "猫.txt": "黒猫が庭で眠っている。\n",
    "questions.jsonl": '{"text": "When does the library open?"}\n'
    '{"text": "Who repairs bicycles here?"}\n',
    "removed.txt": "An upgrade of the router is planned for May.\n",
    "left-out.log": "nothing of interest\n",
}


def freeze(target: Path) -> None:
    """Make a collection, and compress it to a file."""
    with tempfile.TemporaryDirectory() as scratch:
        notes, path = Path(scratch, "notes"), Path(scratch, "notes.db")
        for name, text in _NOTES.items():
            file = notes / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        # The stored file must not contain the path of this repository.
        model = shutil.copy(FILE, scratch)
        with Collection(path, model) as collection:
            collection.index(notes, exclude=["*.log"], chunk=64, fields=["text"])
            (notes / "removed.txt").unlink()
            collection.update()
            collection.add(["Water the ferns twice a week."], ids=["ferns"], metadata=[{"n": 1}])
        target.write_bytes(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    file = _ROOT / "tests" / "data" / "collections" / f"format-{VERSION}.db.xz"
    if file.exists():
        sys.exit(f"{file} is frozen already")
    freeze(file)
    print(f"wrote {file}, {file.stat().st_size:,} bytes")
