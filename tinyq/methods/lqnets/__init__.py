"""LQ-Nets, learned quantisation (Zhang et al., 2018)."""
