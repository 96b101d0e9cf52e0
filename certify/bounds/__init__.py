"""Bound propagation: the captured graph, the rules of its layers, and the traversals that apply them."""
