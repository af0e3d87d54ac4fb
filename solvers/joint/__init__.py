"""Order and residency together: least traffic by capacity alone, and bounds on it."""
