"""Registries over HTTP: the OCI distribution protocol (distribution-spec 1.1).

    client.py      every registry as configured; makes fetchers and pushers
    fetcher.py     one repository: resolve, documents, blobs
    pusher.py      one repository, written: mounts, manifests;  upload.py  one blob, in chunks, resumed
    route.py       mirrors and the registry itself, in order: the first that can, and does, answers
    transport.py   requests to one of them: log in, follow redirects, try again, give up
    auth.py        tokens and basic auth;  challenge.py  what a registry asks for
    hosts.py       hosts.toml and certs.d: which addresses a registry has;  tls.py  certificates
    problems.py    what went wrong, in one line;  settings.py  endpoints and time-outs

Everything a registry sends is hostile: sizes, counts, nesting and times are bounded, its texts are escaped
before they reach a user, and nothing is believed that no digest vouches for.
"""
