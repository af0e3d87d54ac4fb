"""The published pipeline schedules, one module each, at any costs."""
