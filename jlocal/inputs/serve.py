"""The child's side of `worker`: requests on standard input, answers on standard output.

A message is its length in 8 bytes, big-endian, then its bytes. A request is the content of a file,
an answer is a JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping

from jlocal.errors import TextError
from jlocal.memory import peak_memory

LENGTH_BYTES = 8
# A process with more memory ends, so that one file does not reduce the memory for the next.
_MAX_PROCESS_MEMORY = 256 << 20


def serve(read: Callable[[bytes], Mapping[str, object]]) -> None:
    """Answer requests until standard input ends; the answer is `{"reason": …}` on a TextError."""
    # Ctrl-C reaches every process of the terminal; this one has nothing to clean up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The output of a library must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    while head := requests.read(LENGTH_BYTES):
        answer = _answer(read, requests.read(int.from_bytes(head, "big")))
        data = json.dumps(answer, ensure_ascii=False).encode(errors="replace")
        answers.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
        answers.flush()
        if (peak_memory() or 0) > _MAX_PROCESS_MEMORY:
            break


def _answer(read: Callable[[bytes], Mapping[str, object]], data: bytes) -> Mapping[str, object]:
    try:
        return read(data)
    except TextError as error:
        return {"reason": error.reason}
    except MemoryError:
        return {"reason": "reading it takes too much memory"}
