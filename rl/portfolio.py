"""The learned starting points of the agent: feature weights, and windows, for few decodes."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rl.weights import Weights, WeightsError, load_weights, weights_bytes
from solvers._native import MAPPING_FEATURES

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable
    from typing import Any

    from numpy.typing import NDArray

KIND = "portfolio"
# Changes whenever the features, their order or the decoder's key do.
FEATURE_VERSION = 1
_MOST_ENTRIES = 256
# Rows; see solvers.mapping.decoders.NO_WINDOW.
_MOST_ROWS = 1 << 30


class Entry(NamedTuple):
    """One decode.

    Attributes
    ----------
    weights : float64 array of shape [14]
        Of the features of the marginal decoder.
    window : int
        How many rows a copy may take.
    """

    weights: NDArray[np.float64]
    window: int


def shipped_portfolio() -> Traversable:
    """Return where the portfolio that is installed with the package lies."""
    return files("rl") / "trained" / "portfolio.npz"


def load_portfolio(path: str | os.PathLike[str] | None = None) -> tuple[Entry, ...]:
    """Read a portfolio: its first k entries are those to decode with, if there are k decodes.

    Parameters
    ----------
    path : path or None
        None: the one that is shipped.

    Raises
    ------
    WeightsError
        If the file is missing, corrupt, for something else, or of another version.
    """
    arrays = load_portfolio_weights(path).arrays
    pairs = zip(arrays["weights"], arrays["windows"].tolist(), strict=True)
    return tuple(Entry(weights, window) for weights, window in pairs)


def load_portfolio_weights(path: str | os.PathLike[str] | None = None) -> Weights:
    """Read a portfolio with what is known of its training and its score.

    Raises
    ------
    WeightsError
        If the file is missing, corrupt, for something else, or of another version.
    """
    source = shipped_portfolio() if path is None else path
    loaded = load_weights(source, kind=KIND, feature_version=FEATURE_VERSION)
    windows = loaded.arrays.get("windows", np.empty(0))
    entries = min(windows.size, _MOST_ENTRIES)
    shapes = {"weights": (entries, MAPPING_FEATURES), "windows": (entries,)}
    loaded.require_shapes(shapes, source=source)
    if entries == 0:
        raise WeightsError(f"{source}: a portfolio without an entry.")
    if loaded.arrays["weights"].dtype != np.float64 or windows.dtype != np.int32:
        raise WeightsError(f"{source}: weights have to be float64 and windows int32.")
    if windows.min() < 1 or windows.max() > _MOST_ROWS:
        raise WeightsError(f"{source}: a window is not within 1 and {_MOST_ROWS:,} rows.")
    return loaded


def portfolio_bytes(
    entries: Sequence[Entry], *, training: Mapping[str, Any], score: Mapping[str, Any]
) -> bytes:
    """Return the contents of a portfolio's file; the same portfolio gives the same bytes.

    Parameters
    ----------
    training, score : mappings
        JSON values: how it was trained, and what was measured.
    """
    arrays = {
        "weights": np.array([entry.weights for entry in entries], dtype=np.float64),
        "windows": np.array([entry.window for entry in entries], dtype=np.int32),
    }
    shape = {"entries": len(entries), "features": MAPPING_FEATURES}
    return weights_bytes(Weights(KIND, FEATURE_VERSION, arrays, shape, training, score))
