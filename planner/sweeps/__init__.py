"""Traffic and latency against the capacity of the nearest memory."""
