"""Models in: one package per format, and a zoo of well-known networks."""
