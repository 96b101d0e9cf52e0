"""The report on classifiers behind a spiking neuron-astrocyte network: ``snan.html`` and ``snan.json``."""
