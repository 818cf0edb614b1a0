"""What a network is trained for: the loss, the kind of its targets, and the figures that are measured of it."""
