"""Linear relaxations: pure functions of bounds, shared by every propagation.

One principle throughout: any slope will do, because the offset is the exact extreme of (function - slope x) over the
bounds. Slopes are chosen for tightness among a few candidates; soundness never depends on the choice.
"""
