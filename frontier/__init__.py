"""Frontiers of sparse autoencoders as numbers."""
