"""Training through bounds: networks that learn to be certifiable."""
