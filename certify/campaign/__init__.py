"""Campaigns: many problems, over samples, radii, methods and attacks."""
