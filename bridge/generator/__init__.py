"""The generator: an OpenAPI document in, Smalltalk files out.

The data flows one way: `document` reads the OpenAPI document, `operations` and `client` make the
client's methods of it, `sources` renders the class templates and reads them into the intermediate
representation (`model`), `dialects` says which classes and formats a system gets, `render` puts
packages into files, `manifest` and `drift` compare those with a folder, `generate` writes them.
"""
