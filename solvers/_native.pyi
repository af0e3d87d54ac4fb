"""C++ kernels of the planner: arrays in, arrays out, GIL released."""

import numpy as np
from numpy.typing import NDArray

class CancelFlag:
    """Asks running kernels to stop and hand back the best they have."""

    def __init__(self) -> None: ...
    def set(self) -> None:
        """Ask for a stop. Safe from any thread."""

    def clear(self) -> None:
        """Withdraw the request."""

    def is_set(self) -> bool:
        """Whether a stop was asked for."""

def offsets_lower_bound(
    lower: NDArray[np.int64],
    upper: NDArray[np.int64],
    size: NDArray[np.int64],
    alignment: NDArray[np.int64],
) -> int:
    """Return a proven bound on the height of every placement of checked arrays."""

def offsets_pack(
    lower: NDArray[np.int64],
    upper: NDArray[np.int64],
    size: NDArray[np.int64],
    alignment: NDArray[np.int64],
    hint: NDArray[np.int64],
    capacity: int,
    search: bool,
    time_limit_s: float,
    cancel: CancelFlag,
) -> tuple[NDArray[np.int64], int, int, str, int, int, int]:
    """Return offsets, height, proven bound, winning order, components, nodes and searches.

    A negative capacity asks for the lowest height; an empty hint is none.
    """
