"""Ways to find a plan, by problem. The kernels are in the extension ``solvers._native``."""

from __future__ import annotations

try:
    from solvers._native import CancelFlag, SharedBest
except ImportError as error:
    raise ImportError(
        "the compiled core solvers._native could not be loaded "
        f"({error}). Install the project with: pip install . "
        "- and, to run Python from inside the source tree, with: pip install -e ."
    ) from error

__all__ = ["CancelFlag", "SharedBest"]
