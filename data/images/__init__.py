"""Decode and resample images from untrusted bytes."""
