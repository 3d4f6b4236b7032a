"""How you say it: decorators and the context. They describe; nothing here runs anything by itself."""
