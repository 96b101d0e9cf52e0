"""What networks do and how far results can be trusted: routing, spikes, landscapes, spectra, and statistics with intervals."""
