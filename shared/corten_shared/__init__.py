"""The wire contract between cortend and its clients: errors, names and records.

Imports the standard library and pydantic only, so that a client can use it at no cost.
"""
