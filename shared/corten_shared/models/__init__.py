"""Records of the native API: what services return, what bodies carry, what the database keeps."""
