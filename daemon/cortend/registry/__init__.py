"""Registries over HTTP: the OCI distribution protocol, pulling (distribution-spec 1.1).

    client.py      every registry as configured; makes fetchers
    fetcher.py     one repository: resolve, documents, blobs
    transport.py   requests: log in, follow redirects, try again, give up
    auth.py        tokens and basic auth;  challenge.py  what a registry asks for
    problems.py    what went wrong, in one line;  settings.py  hosts, time-outs, limits

Everything a registry sends is hostile: sizes, counts, nesting and times are bounded, its texts are escaped
before they reach a user, and nothing is believed that no digest vouches for.
"""
