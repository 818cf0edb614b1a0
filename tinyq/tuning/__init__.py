"""Find settings by short trials, and train one setting with several seeds."""
