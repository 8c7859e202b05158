"""Bytes on disk: blobs by digest and the ingests that become blobs."""
