"""Layers: unpacking them in a confined child (`apply`), making them in another (`comparer`); image archives: finding
their members (`archive`); files of containers (`archiver`).

`apply`, `archive`, `archiver` and `comparer` are the daemon's side. Everything else here runs in a child, which imports
nothing after it is confined. That of `apply` must start fast: its modules import neither pydantic, typing, json nor re.

    archive.py  members of an image archive, by the same parser
    apply.py    spawn the child, watch it, turn its last line into a result or an error
    unpack.py   the child: confine itself, then stream -> tar -> extract
    comparer.py, comparing.py   the same for a layer that is made of a snapshot: differences.py walks two trees,
                tarwriter.py writes entries, sink.py hashes and compresses
    archiver.py, inside.py      the same for a container's files: pack.py reads trees, upload.py writes them
    stream.py   read, inflate, hash, count
    tar.py      the archive's headers (ustar, GNU, PAX), checked
    sparse.py   maps of sparse files
    extract.py  entries to files inside the root, whiteouts
    refusal.py  how a layer is refused; limits.py how much it may take
"""
