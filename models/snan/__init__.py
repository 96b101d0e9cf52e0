"""The spiking neuron-astrocyte network (SNAN): one file for each mechanism.

Mechanisms, by the paper's equations: ``neurons`` (1-2), ``synapses`` (3), ``connectivity`` (4-7), ``plasticity`` (8-9),
``astrocytes`` (10-18), ``glutamate`` (19-21), ``modulation`` (22), ``zones``. ``settings`` and ``protocol`` hold all numbers,
``network`` what has been learned. ``simulation`` takes the time steps, ``learning`` and ``syncytium`` with it; ``training`` shows
images once, ``presentation`` counts spikes, ``preprocessor`` makes maps of them, ``files`` keeps a network.
"""
