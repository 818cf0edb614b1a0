"""Read and write files: atomic writes, run folders, JSON journals, and weight files that are not trusted."""
