-- The first schema; metadata/db.py draws it. Times are ns since the epoch; `labels` and `record` are JSON.

CREATE TABLE namespaces (
    name       TEXT PRIMARY KEY,
    labels     TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    ns         TEXT NOT NULL REFERENCES namespaces (name),
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    target     TEXT NOT NULL,
    labels     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (ns, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE containers (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    ns           TEXT NOT NULL REFERENCES namespaces (name),
    id           TEXT NOT NULL,
    name         TEXT NOT NULL,
    image_digest TEXT NOT NULL,
    snapshotter  TEXT NOT NULL,
    snapshot_key TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    record       TEXT NOT NULL,
    UNIQUE (ns, id)
) STRICT;
CREATE UNIQUE INDEX containers_by_name ON containers (ns, name) WHERE name <> '';
CREATE INDEX containers_by_age ON containers (ns, created_at, number);

CREATE TABLE tasks (
    ns           TEXT NOT NULL,
    container_id TEXT NOT NULL,
    record       TEXT NOT NULL,
    PRIMARY KEY (ns, container_id),
    FOREIGN KEY (ns, container_id) REFERENCES containers (ns, id) ON DELETE CASCADE
) STRICT;

-- No foreign key: an endpoint outlives its container until the network is taken down, so that its
-- address is not reused before.
CREATE TABLE endpoints (
    ns           TEXT NOT NULL,
    container_id TEXT NOT NULL,
    network      TEXT NOT NULL,
    address      TEXT,
    record       TEXT NOT NULL,
    PRIMARY KEY (ns, container_id),
    UNIQUE (network, address)
) STRICT;

CREATE TABLE last_addresses (
    network TEXT PRIMARY KEY,
    address TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    ns         TEXT NOT NULL REFERENCES namespaces (name),
    id         TEXT NOT NULL,
    labels     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (ns, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease_resources (
    ns    TEXT NOT NULL,
    lease TEXT NOT NULL,
    type  TEXT NOT NULL,
    id    TEXT NOT NULL,
    PRIMARY KEY (ns, lease, type, id),
    FOREIGN KEY (ns, lease) REFERENCES leases (ns, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_resources_by_object ON lease_resources (ns, type, id);

CREATE TABLE content (
    ns         TEXT NOT NULL REFERENCES namespaces (name),
    digest     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    labels     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (ns, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX content_by_digest ON content (digest);

CREATE TABLE snapshots (
    snapshotter TEXT NOT NULL,
    sid         INTEGER NOT NULL,
    ns          TEXT NOT NULL REFERENCES namespaces (name),
    name        TEXT NOT NULL,
    parent      INTEGER,
    kind        TEXT NOT NULL CHECK (kind IN ('view', 'active', 'committed')),
    labels      TEXT NOT NULL,
    size        INTEGER NOT NULL DEFAULT 0,
    inodes      INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (snapshotter, sid),
    UNIQUE (ns, snapshotter, name),
    FOREIGN KEY (snapshotter, parent) REFERENCES snapshots (snapshotter, sid)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_by_parent ON snapshots (snapshotter, parent);

CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    ns         TEXT NOT NULL,
    topic      TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    attributes TEXT NOT NULL
) STRICT;
