"""Snapshot drivers: `overlay` (overlayfs) and `native` (whole copies), both on `directories`."""
