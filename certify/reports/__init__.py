"""What a run found out: as data (``parts``, ``schema``), as a terminal table, and as one HTML page."""
