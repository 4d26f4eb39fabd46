"""The API, declared once: schemas, operations, and the OpenAPI document made of them."""
