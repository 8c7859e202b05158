"""Volumes on the local file system."""
