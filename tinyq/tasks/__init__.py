"""The task of a network: the loss, the kind of its targets, and the figures that are measured of it."""
