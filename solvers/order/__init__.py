"""Orders of the operators with a small peak of live bytes."""
