"""Which operators do without a copy: Concat, Split, Slice and Gather inside shared storages."""
