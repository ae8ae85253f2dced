"""The three providers' HTTP interfaces, faked faithfully from their documents, with books of their own.

It is a second reading of the same documents, so it imports nothing of the project, and only the command line and the
resources' demo transport import it. `app.create_app` is the ASGI application, `server.serve` runs it over real HTTP,
`books.Books` is what it charged.
"""
