"""Engines besides our own run: what they keep, when they free it, and how they are measured."""
