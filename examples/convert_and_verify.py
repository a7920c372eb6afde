"""Convert a checkpoint to GGUF files, and measure the loss of the smaller one.

The checkpoint is that of the starter model in this repository; a folder with
jina-embeddings-v5-text-small is converted in the same way.
"""

import tempfile
from pathlib import Path

from jlocal.verify import read_texts, verify
from jlocal_convert import convert

ROOT = Path(__file__).resolve().parent.parent
NOTES = ROOT / "examples" / "notes" / "meetings"

with tempfile.TemporaryDirectory() as folder:
    exact, small = convert(
        ROOT / "starter" / "jlocal-starter",
        tasks=["retrieval"],
        types=["F16", "Q8_0"],
        output=Path(folder),
    )
    report = verify(small, exact, texts=read_texts(sorted(NOTES.glob("2024*.md"))))
    print(f"{exact.stat().st_size / 1e6:.1f} MB and {small.stat().st_size / 1e6:.1f} MB")
    print(f"the lowest cosine is above 0.99: {report.least.cosine > 0.99}")
