"""The conformance kit: is a layer's bound sound on this network? For your layers and rules as for ours."""
