"""The plot of tokens a second: a panel for each type of file, bars by peer for each workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, OTHERS = "#d9480f", "#adb5bd"


def bars(tables: dict[str, Any], target: Path) -> None:
    """Draw from the tables of throughput.py."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, ticker

    # A heading is: model, type, workload.
    panels: dict[str, dict[str, Any]] = {}
    for heading, table in tables.items():
        model, kind, load = heading.split(", ")
        panels.setdefault(f"{model}, {kind}", {})[load] = table["rows"]
    loads = list(dict.fromkeys(load for panel in panels.values() for load in panel))
    rows = [row for panel in panels.values() for found in panel.values() for row in found]
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    places = {
        (load, peer): index * (len(peers) + 1.5) + number
        for index, load in enumerate(loads)
        for number, peer in enumerate(peers)
    }
    figure, axes = pyplot.subplots(
        1,
        len(panels),
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(2 + 4 * len(panels), 1 + 0.24 * (len(peers) + 1.5) * len(loads)),
        layout="constrained",
    )
    for axis, (title, panel) in zip(axes[0], panels.items(), strict=True):
        axis.set_title(title, fontweight="bold")
        axis.set_xlabel("tokens/s")
        axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        for load, found in panel.items():
            first = places[load, peers[0]]
            axis.text(0, first - 0.7, f" {load}", va="bottom", style="italic", fontsize=9)
            colors = [OURS if row["peer"].split(",")[0] == "jlocal" else OTHERS for row in found]
            positions = [places[load, row["peer"]] for row in found]
            drawn = axis.barh(
                positions, [row["tokens_per_second"] for row in found], 0.8, color=colors
            )
            axis.bar_label(drawn, fmt=" {:,.0f}", fontsize=8)
    axes[0][0].set_yticks(list(places.values()), [peer for _, peer in places], fontsize=9)
    axes[0][0].invert_yaxis()
    axes[0][0].margins(x=0.15)
    figure.savefig(target)
