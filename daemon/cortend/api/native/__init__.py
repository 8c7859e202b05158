"""The native REST API under /api/v1: containerd's nouns as JSON, described by OpenAPI."""
