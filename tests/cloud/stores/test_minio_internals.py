"""Another version of the minio client may keep other things to itself: then this says what to do, before any store is asked."""

import ast
import inspect
from collections.abc import Iterator, Sequence

import minio
import pytest
from minio import Minio
from minio.error import InvalidResponseError, MinioAdminException

from cloud.stores import minio_internals
from cloud.stores.minio_internals import body_of, body_of_admin, content_type_of, status_of, status_of_admin

FILE = "cloud/stores/minio_internals.py"
OWNERS = {
    "Minio": Minio("host"),
    "InvalidResponseError": InvalidResponseError(404, "text/html", "<html>"),
    "MinioAdminException": MinioAdminException("403", '{"Code":"AccessDenied"}'),
}


def uses() -> Iterator[tuple[str, str, list[str]]]:
    """Whose, what and with which arguments our file uses, of all that begins with an underscore."""
    for function in ast.parse(inspect.getsource(minio_internals)).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        owners = {one.arg: ast.unparse(one.annotation) for one in function.args.args if one.annotation}
        calls = {id(node.func): node for node in ast.walk(function) if isinstance(node, ast.Call)}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and isinstance(node.value, ast.Name):
                call = calls.get(id(node))
                assert call is None or not call.args, f"{FILE} gives {node.attr} arguments without their names."
                yield owners[node.value.id], node.attr, [str(one.arg) for one in call.keywords] if call else []


def fault(owner: str, name: str, arguments: Sequence[str]) -> str:
    """What this minio lacks of what we use, and the way out; empty: nothing."""
    way_out = f"Change {FILE}, where alone it is used, or keep the former version in pyproject.toml."
    found = getattr(OWNERS[owner], name, None)
    if found is None:
        return f"minio {minio.__version__} has no {owner}.{name}. {way_out}"
    if callable(found):
        try:
            inspect.signature(found).bind(**dict.fromkeys(arguments))
        except TypeError as error:
            return f"minio {minio.__version__} takes other arguments for {owner}.{name}: {error}. {way_out}"
    return ""


@pytest.mark.parametrize(("owner", "name", "arguments"), [*uses()])
def test_minio_still_has_what_we_use_of_its_own(owner: str, name: str, arguments: list[str]) -> None:
    assert not fault(owner, name, arguments)


def test_its_errors_keep_what_was_answered() -> None:
    stranger, admin = InvalidResponseError(404, "text/html", "<html>"), MinioAdminException("403", "no")
    assert (status_of(stranger), content_type_of(stranger), body_of(stranger)) == (404, "text/html", "<html>")
    assert (status_of_admin(admin), body_of_admin(admin)) == ("403", "no")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("_run", [], "has no Minio._run. Change cloud/stores/minio_internals.py"),
        (
            "_execute",
            ["method", "object"],
            "takes other arguments for Minio._execute: got an unexpected keyword argument 'object'",
        ),
        ("_abort_multipart_upload", ["bucket_name"], "missing a required argument: 'object_name'. Change cloud/stores/"),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(name: str, arguments: list[str], told: str) -> None:
    assert told in fault("Minio", name, arguments)
