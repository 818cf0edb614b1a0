"""Everything that touches a disk: atomic writes, run folders, JSON journals, and HDF5 that is not trusted."""
