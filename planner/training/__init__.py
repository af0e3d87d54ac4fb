"""Training steps: which activations are kept, recomputed or offloaded under a budget of bytes."""
