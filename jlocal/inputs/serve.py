"""The child's side of `worker`: requests on standard input, answers on standard output.

A message is its length in 8 bytes, most significant first, and so many bytes. A request is a
file's bytes, an answer a JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping

from jlocal.errors import TextError
from jlocal.memory import peak_memory

HEAD = 8
# A process that has grown so large ends, so that one file does not narrow the bounds of the next.
_LARGE = 256 << 20


def serve(read: Callable[[bytes], Mapping[str, object]]) -> None:
    """Answer requests until standard input ends, with `{"reason": …}` where `read` refuses."""
    # Ctrl-C reaches every process of the terminal; this one has nothing to clean up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    while head := requests.read(HEAD):
        answer = _answer(read, requests.read(int.from_bytes(head, "big")))
        data = json.dumps(answer, ensure_ascii=False).encode(errors="replace")
        answers.write(len(data).to_bytes(HEAD, "big") + data)
        answers.flush()
        if (peak_memory() or 0) > _LARGE:
            break


def _answer(read: Callable[[bytes], Mapping[str, object]], data: bytes) -> Mapping[str, object]:
    try:
        return read(data)
    except TextError as error:
        return {"reason": error.reason}
    except MemoryError:
        return {"reason": "reading it takes too much memory"}
