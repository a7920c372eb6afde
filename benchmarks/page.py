"""The page of results: each part adds its tables, as Markdown for readers and JSON for programs.

The JSON file has the whole page, so a part that is measured again, by itself or by run.py, replaces
its tables with the same headings and leaves all others.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from processes import in_child, say

import models

Row = dict[str, Any]

INTRODUCTION = """\
# Benchmarks

Made by `python benchmarks/run.py --output docs/benchmarks.md`, and for a GPU by
`benchmarks/gpu.sh`; each part also runs alone, and updates its tables (`python
benchmarks/startup.py --help`). All weights are random, since speed does not depend on their values.
Peers take turns in one run, every round with fresh texts, after one round to warm up; times are
medians, and every one is in the JSON file beside this page.
"""


@dataclass(frozen=True)
class Table:
    """The measurements under one heading."""

    heading: str
    rows: list[Row]
    note: str = ""


@dataclass(frozen=True)
class Part:
    """One benchmark.

    Attributes:
        name: of its script.
        title: over its tables.
        about: what is measured, and how to read it.
        columns: key of a row -> title of its column, and the format of its values.
        arguments: adds its options.
        measure: gives a table as soon as it is complete.
        rounds: how many by default.
        draw: draws a plot from the tables, as stored, into a file.

    """

    name: str
    title: str
    about: str
    columns: Mapping[str, tuple[str, str]]
    arguments: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], Iterator[Table]]
    rounds: int = 5
    draw: Callable[[dict[str, Any], Path], None] | None = None


def run(*parts: Part) -> None:
    """Read the command line, run the chosen parts, and write the page after each table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for part, options in _arguments(parts):
            say(f"== {part.title}")
            options.folder.mkdir(parents=True, exist_ok=True)
            page = _Page(options.output)
            for table in part.measure(options):
                page.add(part, table, options)
            page.draw(part)
    except KeyboardInterrupt:
        say("Interrupted.")
        sys.exit(130)


class _Page:
    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._parts: dict[str, Any] = {}
        if output and output.with_suffix(".json").exists():
            self._parts = json.loads(output.with_suffix(".json").read_text())

    def add(self, part: Part, table: Table, options: argparse.Namespace) -> None:
        """Put a table in its place, print it, and write the page."""
        stored = {
            "note": table.note,
            "date": time.strftime("%Y-%m-%d"),
            "rounds": options.rounds,
            "command": shlex.join(
                ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
            ),
            "machine": machine.describe(getattr(options, "device", "cpu")),
            "versions": machine.versions(),
            "columns": {key: value for key, value in part.columns.items() if _used(key, table)},
            "rows": table.rows,
        }
        entry = self._parts.setdefault(part.name, {"tables": {}})
        entry |= {"title": part.title, "about": part.about}
        entry["tables"][table.heading] = stored
        print("\n".join(_markdown(table.heading, stored, self._place(stored))), flush=True)
        self._write()

    def draw(self, part: Part) -> None:
        """Draw the plot of a part that has one."""
        if part.draw and not importlib.util.find_spec("matplotlib"):
            say("without a plot: pip install --group bench brings matplotlib")
        elif part.draw and self._output and self._parts.get(part.name):
            in_child(part.draw, self._parts[part.name]["tables"], self._plot(part.name))
            self._write()

    def _plot(self, name: str) -> Path:
        assert self._output
        return self._output.with_name(f"{self._output.stem}-{name}.svg")

    def _write(self) -> None:
        if not self._output:
            return
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._output.with_suffix(".json").write_text(json.dumps(self._parts, indent=1) + "\n")
        lines = [INTRODUCTION]
        lines += [
            f"- Machine {number}: {text}" for number, text in enumerate(self._all("machine"), 1)
        ]
        lines += [f"- {text}" for text in self._all("versions")]
        lines.append("")
        for name, entry in self._parts.items():
            lines += [f"## {entry['title']}", "", entry["about"], ""]
            if self._plot(name).exists():
                lines += [f"![{entry['title']}]({self._plot(name).name})", ""]
            for heading, table in entry["tables"].items():
                lines += _markdown(heading, table, self._place(table))
        self._output.write_text("\n".join(lines).rstrip() + "\n")

    def _place(self, table: Row) -> str:
        return f"Machine {self._all('machine').index(table['machine']) + 1}"

    def _all(self, key: str) -> list[str]:
        """Return the different values of all tables."""
        tables = (table for entry in self._parts.values() for table in entry["tables"].values())
        return list(dict.fromkeys(table[key] for table in tables))


def _used(key: str, table: Table) -> bool:
    return any(row.get(key) is not None for row in table.rows)


def _markdown(heading: str, table: Row, place: str) -> list[str]:
    columns = table["columns"]
    # Names to the left, figures to the right.
    rules = ["---:" if form else "---" for _, form in columns.values()]
    lines = [f"### {heading}", "", _line(title for title, _ in columns.values()), _line(rules)]
    for row in table["rows"]:
        cells = [(row.get(key), form) for key, (_, form) in columns.items()]
        lines.append(_line("" if value is None else format(value, form) for value, form in cells))
    end = f"{place}, {table['date']}, rounds: {table['rounds']}; `{table['command']}`"
    return [*lines, "", " ".join(filter(None, (table["note"], end))), ""]


def _line(cells: Iterator[str] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments(parts: tuple[Part, ...]) -> list[tuple[Part, argparse.Namespace]]:
    """Give each part the options that it knows."""
    names = [part.name for part in parts]
    chosen, rest = names, sys.argv[1:]
    selector = argparse.ArgumentParser(
        description="Run the parts and write one page. Other options go to every part that has "
        "them: python benchmarks/startup.py --help, and so on.",
        allow_abbrev=False,
    )
    if len(parts) > 1:
        selector.add_argument("--only", nargs="+", choices=names, default=names)
        options, rest = selector.parse_known_args(rest)
        chosen = options.only
    parsed = [
        (part, *_parser(part).parse_known_args(rest)) for part in parts if part.name in chosen
    ]
    unknown = set.intersection(*(set(left) for _, _, left in parsed))
    if unknown:
        selector.error(f"no part knows {' '.join(word for word in rest if word in unknown)}")
    return [(part, options) for part, options, _ in parsed]


def _parser(part: Part) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=part.about,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", choices=models.SHAPES, default="small", help="shape of the model"
    )
    parser.add_argument(
        "--rounds", type=int, default=part.rounds, help="rounds after one to warm up"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "jlocal-bench"),
        help="folder for the random models, which are made once",
    )
    parser.add_argument("--output", type=Path, help="page to update, with its JSON file")
    part.arguments(parser)
    return parser
