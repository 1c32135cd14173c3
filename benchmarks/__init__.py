"""Measurements that anyone can run again; their tables are in results/."""
