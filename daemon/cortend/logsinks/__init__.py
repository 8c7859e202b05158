"""Log drivers that send a copy away: implementations of `core.logsinks`."""
