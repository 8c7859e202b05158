"""Layers: unpacking them in a confined child (`apply`); image archives: finding their members (`archive`).

`apply` and `archive` are the daemon's side. Everything else here runs in the child, which must start fast and import
nothing after it is confined: these modules import neither pydantic, typing, json nor re.

    archive.py  members of an image archive, by the same parser
    apply.py    spawn the child, watch it, turn its last line into a result or an error
    unpack.py   the child: confine itself, then stream -> tar -> extract
    stream.py   read, inflate, hash, count
    tar.py      the archive's headers (ustar, GNU, PAX), checked
    sparse.py   maps of sparse files
    extract.py  entries to files inside the root, whiteouts
    refusal.py  how a layer is refused; limits.py how much it may take
"""
