"""Present an audit: findings, series of every tensor, one HTML page, filtered records."""
