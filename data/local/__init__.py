"""Find and open a dataset's files on this disk: roots, archives, IDX arrays, folder trees."""
