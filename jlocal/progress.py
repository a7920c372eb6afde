"""Progress over texts: how the work reports it, and a bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnTexts = Callable[[int, int], None]


@contextmanager
def texts_bar(total: int | None, *, show: bool) -> Iterator[OnTexts | None]:
    """Show texts done, tokens a second and time left on stderr; cleared at the end.

    Args:
        total: how many texts there are, where known.
        show: False shows nothing.

    Yields:
        A function of (texts, tokens) done since its last call, or None.

    """
    if not show:
        yield None
        return
    from tqdm import tqdm

    tokens_done = 0
    with tqdm(total=total, unit=" texts", file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

        def on_texts(texts: int, tokens: int) -> None:
            nonlocal tokens_done
            tokens_done += tokens
            elapsed = bar.format_dict["elapsed"] or 1e-9
            bar.set_postfix_str(f"{tokens_done / elapsed:,.0f} tokens/s", refresh=False)
            bar.update(texts)

        yield on_texts


def say(message: str) -> None:
    """Print a line on stderr, above a bar where one is shown."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(message, file=sys.stderr)
    else:
        print(message, file=sys.stderr)  # noqa: T201
