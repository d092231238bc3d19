"""Mutated bundles, messages and spool files: whatever the bytes, only the family that names their fault comes out."""
