"""Store and run networks with 1 to 3 bits per weight: the .tq.h5 format, its executors and the export as C."""
