-- Who caused an event (JSON, or empty: the engine itself), and what is told of containers that are gone.

ALTER TABLE events ADD COLUMN actor TEXT NOT NULL DEFAULT '';

CREATE TABLE postmortems (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    ns         TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    removed_at INTEGER NOT NULL,
    record     TEXT NOT NULL
) STRICT;
CREATE INDEX postmortems_by_name ON postmortems (ns, name);
CREATE INDEX postmortems_by_id ON postmortems (ns, id);
