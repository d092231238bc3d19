"""Mutated bundles and messages: whatever the bytes, only the family that names the sender's fault comes out."""
