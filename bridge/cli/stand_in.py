"""`neuroscope-bridge stand-in`: a server that returns the examples of an API's document."""

import click


@click.command()
@click.option(
    "--spec", metavar="FILE-OR-URL", required=True, help="The OpenAPI 3 document, as JSON or YAML."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8080, show_default=True, help="The port; 0 takes a free one.")
@click.option("--allow-remote-refs", is_flag=True, help="Follow references to other addresses.")
def stand_in(spec: str, host: str, port: int, allow_remote_refs: bool) -> None:
    """Stand in for an API, so that its client and tests run without it.

    Each operation returns the document's example, or one made of its schemas; a request
    that the document does not allow is an error that says why.
    """
    from bridge.generator.api.document import read_api
    from bridge.generator.errors import GeneratorError
    from bridge.standin.server import serve

    try:
        server = serve(read_api(spec, allow_remote=allow_remote_refs), host, port)
    except GeneratorError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{host}:{port} cannot be listened on ({error})") from error
    click.echo(f"standing in for {spec} at http://{host}:{server.server_port}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        server.server_close()
