"""Reports: pages written from tables."""
