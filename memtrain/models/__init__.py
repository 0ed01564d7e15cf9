"""Specs of networks and the builders of their forward graphs."""
