"""BWN, binary-weight networks (Rastegari et al., 2016)."""
