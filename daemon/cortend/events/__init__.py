"""Handing events to whoever listens."""
