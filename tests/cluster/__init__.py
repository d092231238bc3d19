"""Tests on a real Ray cluster of two nodes on this machine; slow, and outside make test."""
