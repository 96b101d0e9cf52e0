"""Tools of others behind our own interface: second opinions, never proofs by themselves."""
