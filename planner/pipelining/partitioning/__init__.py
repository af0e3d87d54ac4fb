"""A model cut into the stages of a pipeline, and what training costs on each."""
