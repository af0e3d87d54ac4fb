"""Memory planning for deep networks: order, offsets, spills, and how good they provably are."""
