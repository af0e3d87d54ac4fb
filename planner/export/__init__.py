"""Plans and packings in the formats of other programs."""
