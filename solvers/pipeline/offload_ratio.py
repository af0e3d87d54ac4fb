"""How long moving a layer's activations takes, beside computing the layer."""

from __future__ import annotations


def offload_ratio(hidden: int, sequence: int, flop_per_s: float, link_bytes_per_s: float) -> float:
    """Return the time to move out and back over the time of a transformer layer's passes.

    At most 1 if everything can be offloaded for free ("PipeOffload", arXiv 2503.01328).

    Parameters
    ----------
    hidden, sequence : int
        Hidden size and tokens of a sequence.
    flop_per_s, link_bytes_per_s : float
        Of one device, and of its link to the host.
    """
    return 10 / (3 * (6 * hidden + sequence)) * flop_per_s / link_bytes_per_s
