"""Write what comes with the C files of a network: provenance, self-test, example and build files."""
