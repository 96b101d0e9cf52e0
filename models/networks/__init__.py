"""Whole networks. Each is a ``Classifier`` and is built through ``neurocert.models.registry``."""
