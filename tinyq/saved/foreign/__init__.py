"""Convert weights of other programs: find a network's weights in their files, under its own names."""
