"""Draw a run's curves and weight histograms as SVG."""
