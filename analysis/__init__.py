"""What networks do and how far results can be trusted: routing statistics, proportions with intervals."""
