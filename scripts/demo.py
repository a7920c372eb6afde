"""Install jlocal and run its main job: merge an adapter, export GGUF files, embed text files."""

from __future__ import annotations

import shutil
import subprocess
import sys

from environment import BINARIES, PYTHON, ROOT, install, run, say

DEMO = ROOT / "demo"
MODEL = DEMO / "models" / "jina-embeddings-v5-text-small-retrieval-Q8_0.gguf"


def main() -> None:
    """Do it all."""
    install("-e", ".")
    say(
        "\nThe published weights are large and under a licence of their own, so this run builds a "
        "small\ncheckpoint in the same layout, with the real tokenizer and random weights. Its "
        "vectors mean nothing;\neverything else is as it is with the real one."
    )
    checkpoint = DEMO / "jina-embeddings-v5-text-small"
    build = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path; import checkpoints; "
        f"target = Path({str(checkpoint)!r}); aside = target.with_name('partial'); "
        "checkpoints.build(aside, 'qwen3'); aside.rename(target)"
    )
    if not checkpoint.exists():
        shutil.rmtree(DEMO / "partial", ignore_errors=True)
        status = subprocess.run([str(PYTHON), "-c", build], cwd=ROOT).returncode
        if status:
            sys.exit(status)
    jlocal = BINARIES / "jlocal"
    models = DEMO / "models"
    run(
        jlocal, "convert", checkpoint.relative_to(ROOT), "--task", "retrieval",
        "--to", "F16", "--to", "Q8_0", "--force", "-o", models.relative_to(ROOT),
    )  # fmt: skip
    model = MODEL.relative_to(ROOT)
    run(jlocal, "show", model)
    run(
        jlocal, "embed", "README.md", "docs", "--include", "*.md",
        "-m", model, "-o", "demo/docs.npz",
    )  # fmt: skip
    run(jlocal, "similar", "-m", model, "a cat", "a kitten", "a cat")
    say(f"\nDone. The command is {jlocal}; the vectors are in demo/docs.npz.")


if __name__ == "__main__":
    main()
