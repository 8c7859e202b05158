"""Wire types of request bodies: docker's member names, unknown members ignored, `null` as if absent."""
