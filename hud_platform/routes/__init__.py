"""The HTTP routes, one module a subject: each handler calls one function of the room below and renders the result."""
