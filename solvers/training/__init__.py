"""Training steps: searches for what is kept, recomputed or offloaded under a budget."""
