"""Use cases: what the engine does, seen by no API and seeing no HTTP, SQL or disk layout."""
