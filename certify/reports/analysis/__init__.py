"""What ``certify analyse`` found, as data, as figures and as one page."""
