"""The plots of docs/performance.md: dots on logarithmic scales, since what is compared lies orders of magnitude apart.

Each is drawn as PNG and as SVG from the same figure; the same figures give the same bytes. haikud is blue and a full
dot, the others are grey and hollow, so that no meaning rests on colour alone; each dot has its number beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmarks.figures import plain
from benchmarks.goals import GOALS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

OURS, OTHERS, MISSED, INK, FAINT = "#0072B2", "#6b6b6b", "#D55E00", "#222222", "#dddddd"  # Okabe and Ito's

STYLE: Any = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "haikud",
}

Kept = Mapping[str, Any]


def draw_all(kept: Kept, into: Path) -> list[Path]:
    """Every plot whose figures are there; the files that were written."""
    drawn: list[Path] = []
    with mpl.rc_context(STYLE):
        for name, draw in (("dispatch", dispatch), ("burst", burst), ("goals", goals)):
            figure = draw(kept)
            if figure is None:
                continue
            for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
                path = into / f"performance-{name}.{ending}"
                figure.savefig(path, dpi=130, metadata=metadata, facecolor="white")
                drawn.append(path)
    return drawn


def dispatch(kept: Kept) -> Figure | None:
    """From the call to the first instruction: p50, with a line up to p95."""
    values = by_column(kept, "dispatch")
    if not values:
        return None
    names = list(reversed(values))
    figure, axes = canvas(names, 1)
    for height, name in enumerate(names):
        middle, far = values[name]["p50"], values[name]["p95"]
        colour = colour_of(name)
        axes[0].plot([middle, far], [height, height], color=colour, linewidth=2, solid_capstyle="butt", alpha=0.55)
        axes[0].plot([far, far], [height - 0.14, height + 0.14], color=colour, linewidth=2, alpha=0.55)
        dot(axes[0], middle, height, name)
        beside(axes[0], far, height, f"{plain(middle)} – {plain(far)} ms")  # noqa: RUF001 - a range
    scale(axes[0], [v for one in values.values() for v in (one["p50"], one["p95"])], room=3.2)
    axes[0].set_title("From handing over to the program's first instruction: p50 – p95, ms", **TITLE)  # noqa: RUF001
    return figure


def burst(kept: Kept) -> Figure | None:
    """Seconds for all, and processor time for each."""
    values = by_column(kept, "burst")
    if not values:
        return None
    plans = kept["burst"].get("plans", 1000)
    names = list(reversed(values))
    figure, axes = canvas(names, 2)
    for one, column, title in (
        (axes[0], f"{plans} plans", f"Seconds for {plans:,} on two slots"),
        (axes[1], "CPU a plan", "Processor time of all processes, ms a plan"),
    ):
        for height, name in enumerate(names):
            dot(one, values[name][column], height, name)
            beside(one, values[name][column], height, plain(values[name][column]))
        scale(one, [value[column] for value in values.values()], room=2.2)
        one.set_title(title, **TITLE)
    return figure


def goals(kept: Kept) -> Figure | None:
    """How much of its limit each goal uses."""
    if kept.get("machine", {}).get("quick"):
        return None
    shares = []
    for goal in GOALS:
        value = goal.found(kept)
        if value and goal.limit:  # a goal of nothing at all has no share
            words = f"{plain(value)} {goal.unit} (at {'least' if goal.least else 'most'} {plain(goal.limit)})"
            shares.append((goal.short, goal.used(value), words))
    if not shares:
        return None
    shares.reverse()
    figure, (axes, *_) = canvas([short for short, _, _ in shares], 1)
    for height, (_, share, words) in enumerate(shares):
        colour = OURS if share <= 1 else MISSED
        axes.plot([1, share], [height, height], color=colour, linewidth=2, alpha=0.55)
        axes.plot([share], [height], marker="o" if share <= 1 else "X", markersize=8, color=colour, zorder=3)
        beside(axes, max(share, 1), height, words)
    axes.axvline(1, color=INK, linewidth=1)
    scale(axes, [1, *(share for _, share, _ in shares)], room=4.5)
    axes.set_title("Found, as a share of the limit: dots left of the line are reached, crosses are not", **TITLE)
    return figure


TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10.5, "color": INK, "pad": 10}


def by_column(kept: Kept, name: str) -> dict[str, dict[str, float]]:
    """The rows of a benchmark: what, column, value."""
    found: dict[str, dict[str, float]] = {}
    for row in kept.get(name, {}).get("rows", ()):
        if row.get("column"):
            found.setdefault(row["what"], {})[row["column"]] = row["value"]
    return found


def canvas(names: Sequence[str], panels: int) -> tuple[Figure, list[Axes]]:
    """A line for each name, and so many panels that share them."""
    figure = Figure(figsize=(8.6, 0.9 + 0.36 * len(names)), layout="constrained")
    axes = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    for one in axes:
        one.tick_params(axis="y", length=0)
        one.tick_params(axis="x", colors=OTHERS, labelsize=9)
        one.grid(axis="x", color=FAINT, linewidth=0.7)
        one.set_axisbelow(True)
    for label, name in zip(axes[0].get_yticklabels(), names, strict=True):
        label.set_color(OURS if is_ours(name) else INK)
        label.set_fontweight("bold" if is_start(name) else "normal")
    return figure, axes


def dot(axes: Axes, value: float, height: int, name: str) -> None:
    """A figure of one contender."""
    colour = colour_of(name)
    inside = colour if is_start(name) else "white"
    axes.plot([value], [height], "o", markersize=7.5, color=colour, mfc=inside, markeredgewidth=1.8, zorder=3)


def beside(axes: Axes, value: float, height: int, words: str) -> None:
    """Words to the right of a dot."""
    axes.annotate(
        words, (value, height), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9, color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip


def scale(axes: Axes, values: Iterable[float], room: float) -> None:
    """Logarithmic, in plain numbers, with room for words at the right."""
    found = sorted(values)
    axes.set_xscale("log")
    axes.set_xlim(found[0] / 1.5, found[-1] * (found[-1] / found[0]) ** 0.12 * room)
    if found[-1] < found[0] * 100:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=0)


def is_ours(name: str) -> bool:
    """Whether that is haikud."""
    return name.startswith("haikud")


def is_start(name: str) -> bool:
    """Whether that is haikud's start of a program, and not its answer, which nobody else has."""
    return is_ours(name) and not name.endswith("answer")


def colour_of(name: str) -> str:
    """Of a contender."""
    return OURS if is_ours(name) else OTHERS
