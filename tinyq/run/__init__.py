"""From a command line to a trained network: configuration, recipes, the training loop, checkpoints, results."""
