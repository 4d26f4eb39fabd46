"""An OpenAPI document as plain objects, its references resolved; nothing of Smalltalk.

`reading` makes JSON values of bytes, `references` follows `$ref` within and between documents,
`schemas`, `parameters`, `bodies`, `responses`, `security` and `servers` read one kind of object
each, `operations` gathers them, `document` reads the whole.
"""
