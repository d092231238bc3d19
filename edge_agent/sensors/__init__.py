"""Where windows come from."""
