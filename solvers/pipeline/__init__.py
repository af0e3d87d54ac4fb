"""Schedules of pipeline-parallel training: constructors, bounds and searches."""
