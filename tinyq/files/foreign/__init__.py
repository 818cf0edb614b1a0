"""Read weights that other programs saved: PyTorch's formats, safetensors, HDF5. Nothing in a file is run."""
