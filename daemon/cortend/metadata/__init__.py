"""The database: every record the engine keeps, in SQLite. The only package that imports sqlite3."""
