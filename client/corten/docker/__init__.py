"""`corten`: the docker-compatible command line, a client of the Docker Engine API.

`commands.py` is the table of what there is; each noun's module is imported when one of its
commands runs, and only then.
"""
