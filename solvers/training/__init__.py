"""Ways to plan a training step."""
