"""Lower bounds on what any schedule of a pipeline takes, and on the memory it needs."""
