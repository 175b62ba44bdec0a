"""Preparing a cluster's object store: cloudedge store."""

import json
import os
from typing import Annotated

import typer

from cloudedge.errors import InvalidInput


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    store = typer.Typer(help="Prepare a cluster's object store.", no_args_is_help=True)
    store.command("prepare")(prepare)
    store.command("policy")(policy)
    app.add_typer(store, name="store")


def prepare(
    access_key: Annotated[
        str, typer.Option(envvar="CLOUDEDGE_USER_ACCESS_KEY", help="User to make in a MinIO, for pipeline steps; none: none.")
    ] = "",
    secret_key: Annotated[str, typer.Option(envvar="CLOUDEDGE_USER_SECRET_KEY", help="That user's secret key.")] = "",
) -> None:
    """Make the bucket of CLOUDEDGE_STORE, and a user who may do there just what cloudedge does.

    To be run with an administrator's keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Repeated, it changes nothing.
    """
    from cloud.stores.address import S3Address
    from cloud.stores.prepare import prepare as prepare_store

    address = S3Address.parse(_address())
    made = prepare_store(address, access_key, secret_key)
    print(f"The bucket {address.bucket} {'is made' if made else 'was there already'}.")
    if access_key:
        print(f"The user {access_key} may use it.")


def policy() -> None:
    """Print what the pipeline's user needs in the bucket of CLOUDEDGE_STORE, as S3 writes policies."""
    from cloud.stores.address import S3Address
    from cloud.stores.prepare import policy as policy_of

    print(json.dumps(policy_of(S3Address.parse(_address())), indent=2))


def _address() -> str:
    address = os.environ.get("CLOUDEDGE_STORE", "")
    if not address.startswith(("http://", "https://")):
        raise InvalidInput(f"CLOUDEDGE_STORE is {address!r}: set it to http(s)://host[:port]/bucket of an S3.")
    return address
