"""All benchmarks on one page.

pip install -e . --group bench
python benchmarks/run.py --output docs/benchmarks.md
python benchmarks/run.py --only startup lines --output docs/benchmarks.md
"""

from __future__ import annotations

import lines
import long
import startup
import throughput
from page import run

if __name__ == "__main__":
    run(throughput.PART, startup.PART, long.PART, lines.PART)
