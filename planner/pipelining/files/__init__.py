"""Costs, schedules and copies as files: read strictly, written whole."""
