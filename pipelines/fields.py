"""A pipeline's first step with an argument for each field of a task.

kfp makes a component of a function's text and knows no argument that stands for several. So the text of one whose argument
`task` is a document is rewritten to have the document's fields in that place; nobody writes or reads the long form.
"""

import ast
import inspect
import linecache
import textwrap
from typing import Any

from kfp import dsl

from cloud.entrypoints.form import Form, FormField
from cloud.image import CLOUD_IMAGE
from cloudedge.errors import InvalidInput

DOCUMENT = ("task", "task_id")
"""Arguments of a first step that are the task as one document, and the id of its run."""


def with_fields(component: Any, form: Form[Any]) -> Any:
    """The component with a form's fields in place of the task as one document.

    Args:
        component: A component with the arguments `task` and `task_id`; its body hands all arguments on by name.
        form: The task's form.

    Raises:
        TypeError: it has no such arguments.
        InvalidInput: one of its others is called as a field of the form is.
    """
    source = textwrap.dedent(inspect.getsource(component.python_func))
    (function,) = ast.parse(source).body
    if not isinstance(function, ast.FunctionDef) or not set(DOCUMENT) <= {argument.arg for argument in function.args.args}:
        raise TypeError(f"{component.name} is no first step of a pipeline: it needs the arguments {' and '.join(DOCUMENT)}")
    if twice := sorted(form.fields.keys() & {argument.arg for argument in function.args.args} - {*DOCUMENT}):
        raise InvalidInput(
            f"{form.document.__name__} has the field {twice[0]!r}, as the step {component.name} has something else: rename it, "
            "or say in form_names what it is called on the form."
        )
    function.decorator_list = []
    asked = {"task": [_argument(field) for field in form.fields.values()], "task_id": []}
    function.args.args = [one for argument in function.args.args for one in asked.get(argument.arg, [argument])]
    _describe(function, form)
    text = ast.unparse(ast.fix_missing_locations(function))
    file = f"<{component.name} of {form.document.__name__}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # Where kfp looks for a function's text.
    scope = dict(component.python_func.__globals__)
    exec(compile(text, file, "exec"), scope)  # noqa: S102  # It is our own function's text.
    return dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)(scope[function.name])


def _argument(field: FormField) -> ast.arg:
    return ast.arg(arg=field.name, annotation=ast.Name(id=field.type.__name__, ctx=ast.Load()))


def _describe(function: ast.FunctionDef, form: Form[Any]) -> None:
    """Say in the function's docstring what each field is, in place of the document."""
    lines = (ast.get_docstring(function) or "").splitlines()
    described = [f"    {field.name}: {' '.join(field.words.split())}" for field in form.fields.values()]
    kept = [line for line in lines if not line.startswith(tuple(f"    {name}:" for name in DOCUMENT))]
    place = kept.index("Args:") + 1
    text = "\n    ".join([*kept[:place], *described, *kept[place:], ""])
    function.body[0] = ast.Expr(ast.Constant(text))
