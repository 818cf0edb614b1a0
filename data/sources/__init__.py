"""Read each dataset: its files, their checks, its fixed splits."""
