-- What SnapshotDriver.tally said of a snapshot's files when it was committed; empty for those committed before.
ALTER TABLE snapshots ADD COLUMN tally TEXT NOT NULL DEFAULT '';
