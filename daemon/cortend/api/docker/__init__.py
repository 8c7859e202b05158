"""The Docker Engine API as a translator over services.

`app` takes a request apart (version, route) and puts errors into docker's words; one module per noun holds the
handlers; `translate_*` turn docker's bodies into the engine's records and back; `models` are the wire types that
come in. Specification: docker's engine API 1.24 to 1.51.
"""
