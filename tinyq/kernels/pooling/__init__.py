"""Pool planes: maximum, average and adaptive average, with their gradients."""
