"""From buffers and who may share bytes to the arrays of the offset solvers, and back."""
