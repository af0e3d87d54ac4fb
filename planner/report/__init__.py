"""What a person sees of a plan: text, an HTML memory map, a trace for Perfetto."""
