"""Download datasets with pinned SHA-256 and unpack them."""
