"""Verifiers: from a problem to certificates."""
