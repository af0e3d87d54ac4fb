"""How the suites' charts are drawn: colours, and the same results as the same bytes."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of Okabe and Ito: told apart by most people who confuse some colours.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@contextmanager
def style() -> Iterator[None]:
    """Draw and save inside.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "planner", "font.size": 9}):
        yield


def plain(axes: Axes) -> None:
    """Put a light grid behind what is drawn, and leave out the frame above and to the right."""
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def saved(figure: Figure) -> dict[str, bytes]:
    """Return the picture by suffix, ``svg`` and ``png``."""
    pictures = {}
    for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix, dpi=150, metadata=metadata)
        pictures[suffix] = stream.getvalue()
    return pictures
