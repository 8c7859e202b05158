"""`cortenctl`: the engine's own nouns over the native API, one module per noun."""
