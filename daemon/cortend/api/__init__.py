"""The daemon's surfaces: translators between HTTP and the services, with no rules of their own."""
