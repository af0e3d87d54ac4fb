"""The learned starting points of the agent: feature weights, and windows, for few decodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rl.weights import WeightsFile, load_weights, weights_bytes
from solvers._native import MAPPING_FEATURES

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

SHIPPED = Path(__file__).parent / "weights" / "portfolio.npz"
KIND = "portfolio"
# Changes whenever the features, their order or the decoder's key do.
FEATURES = "mapping-14.1"
_MOST_ENTRIES = 256
_LARGEST_WEIGHT = 1e3
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


def load_portfolio(path: str | os.PathLike[str] | None = None) -> tuple[Entry, ...]:
    """Read a portfolio: its first k entries are those to decode with, if there are k decodes.

    Parameters
    ----------
    path : path or None
        None: the one that is shipped.

    Raises
    ------
    BadFileError
        If the file is missing, corrupt, of another kind or of a newer schema.
    """
    arrays = portfolio_file(path).arrays
    weights, windows = arrays["weights"], arrays["windows"]
    return tuple(Entry(w, int(rows)) for w, rows in zip(weights, windows, strict=True))


def portfolio_file(path: str | os.PathLike[str] | None = None) -> WeightsFile:
    """Read a portfolio with what is known of its training.

    Raises
    ------
    BadFileError
        If the file is missing, corrupt, of another kind or of a newer schema.
    """
    return load_weights(
        SHIPPED if path is None else path, kind=KIND, features=FEATURES, complaint=_complaint
    )


def portfolio_bytes(entries: Sequence[Entry], about: Mapping[str, Any]) -> bytes:
    """Return the content of a portfolio's file; the same entries are the same bytes.

    Parameters
    ----------
    about : mapping
        How it was trained and what it scored, for JSON.
    """
    arrays = {
        "weights": np.array([entry.weights for entry in entries], dtype=np.float64),
        "windows": np.array([entry.window for entry in entries], dtype=np.int32),
    }
    return weights_bytes(arrays, kind=KIND, features=FEATURES, about=about)


def _complaint(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return what is wrong with the arrays, or an empty string."""
    if set(arrays) != {"weights", "windows"}:
        return f"it holds {', '.join(sorted(arrays)) or 'nothing'}, not weights and windows"
    weights, windows = arrays["weights"], arrays["windows"]
    entries = len(windows) if windows.ndim == 1 else 0
    if not 0 < entries <= _MOST_ENTRIES or weights.shape != (entries, MAPPING_FEATURES):
        return f"its arrays have shapes {weights.shape} and {windows.shape}"
    if weights.dtype != np.float64 or windows.dtype != np.int32:
        return f"its arrays are of {weights.dtype} and {windows.dtype}"
    if not (np.abs(weights) <= _LARGEST_WEIGHT).all():
        return f"a weight is not within {_LARGEST_WEIGHT:g}"
    if not ((windows >= 1) & (windows <= _MOST_ROWS)).all():
        return "a window is not positive"
    return ""
