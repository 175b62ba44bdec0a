"""What a pipeline's parameters carry as it is, and what is refused because something on the way would replace it."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.entrypoints.carried import require_carried
from cloudedge.errors import InvalidDocument

REPLACED = {
    "by kfp, in the executor's input": "{{$}}",
    "by kfp, a parameter": "{{$.inputs.parameters['task_name']}}",
    "by kfp, with what closes in another text": "{{$.inputs",
    "by kfp, the run's id": "class {{$.pipeline_job_uuid}}",
    "by kfp's compiler": "{{channel:task=;name=edges;type=LIST;}}",
    "by Argo": "{{workflow.name}}",
    "by Argo, an expression": "{{=1+1}}",
    "by Argo, with the braces of the message around it": "{{ open",
    "by Argo, a character that its quotes break": "dele\x7fte",
    "by Argo, a tag beyond the first plane": "\U000e0041",
    "by the API server": "run [[RunUUID]]",
    "by the API server, a time": "[[CurrentTime.2006]]",
    "by the API server, for recurring runs": "[[ScheduledTime]]",
    "by Kubernetes, a variable of a pod": "$(HOSTNAME)",
    "by Kubernetes, an escaped dollar": "US$$",
    "by kfp, its workspace": "/kfp-workspace/samples",
    "by nobody, but it is no text in UTF-8": "\ud800",
}


@pytest.mark.parametrize("text", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize(
    ("place", "named"),
    [
        (lambda text: text, "name: found"),
        (lambda text: [["good"], ["worn", text]], "name.1.1: found"),
        (lambda text: {"a": {"b": text}}, "name.a.b: found"),
        (lambda text: {"a": [{text: 1}]}, "name.a.0, a name in it: found"),
    ],
    ids=["text", "list", "value", "key"],
)
def test_a_text_that_would_be_replaced_is_refused_wherever_it_stands(text: str, place: Any, named: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        require_carried("The task", {"sound": "good", "name": place(text)})

    assert str(refused.value).startswith("The task cannot be carried by a pipeline's parameters:\n")
    (fault,) = refused.value.faults
    assert fault.startswith(f"{named} {text!r}; leave out ")


@pytest.mark.parametrize(
    "text",
    ["{x}", "} }", "{ {x}}", "}}", "5 $", "$x", "$ (x)", "[[x]]", "[RunUUID]", "kfp-workspace", "\u200b défaut 温度 🔩 \n"],
)
def test_what_only_looks_like_it_is_carried(text: str) -> None:
    require_carried("The task", {"name": text, "inside": {text: [text]}})


@pytest.mark.parametrize("number", [2**53 + 1, -(2**64) - 1, 10**400, float("inf"), float("nan")])
def test_a_number_that_would_become_another_is_refused(number: float) -> None:
    with pytest.raises(InvalidDocument, match="settings.a: found .*; give a number that a float of 64 bits holds"):
        require_carried("The task", {"settings": {"a": number}})


@pytest.mark.parametrize("depth", [20, 21, 400])
def test_depth_is_bounded(depth: int) -> None:
    value: Any = "a"
    for number in range(depth):
        value = {"in": value} if number % 2 else [value]

    if depth == 20:
        require_carried("The task", {"settings": value})
        return
    with pytest.raises(InvalidDocument, match="found more than 20 lists and dictionaries inside each other; make it flatter"):
        require_carried("The task", {"settings": value})


def test_null_is_refused_as_kfp_knows_none_inside_a_value() -> None:
    with pytest.raises(InvalidDocument, match=r"settings.a.1: found null, which Kubeflow does not take; leave it out"):
        require_carried("The task", {"settings": {"a": [1, None]}})


@pytest.mark.parametrize("number", [2**53, 2**60, -0.1, 1e300, True])
def test_other_numbers_are_carried(number: float) -> None:
    require_carried("The task", {"settings": {"a": number}})


@pytest.mark.parametrize("path", ["/data/{{cookiecutter.name}}", "/data/$(x)", "/data/a$$b", "/data/[[Index]]"])
def test_a_path_on_this_machine_is_held_only_to_what_kfp_replaces_here(path: str) -> None:
    require_carried("A path", {"--data": path}, here=True)


@pytest.mark.parametrize("path", ["/data/{{$}}", "/data/{{$.pipeline_root}}", "/kfp-workspace/data", "/\udcff"])
def test_a_path_that_kfp_would_replace_here_is_refused(path: str) -> None:
    with pytest.raises(InvalidDocument, match="A path cannot be carried .*\n  - --data: found "):
        require_carried("A path", {"--data": path}, here=True)


def as_a_pod_gets_it(text: str) -> str:
    """A model of the API server's macros and of Kubernetes' expansion of a container's arguments."""
    text = re.sub(r"\[\[(RunUUID|ScheduledTime|CurrentTime|Index)\]\]", "1", text)
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "", text)


@given(st.lists(st.sampled_from(["$", "(", ")", "[[", "]]", "RunUUID", "{", "}", "a"]), max_size=12).map("".join))
def test_what_is_carried_is_what_a_pod_gets(text: str) -> None:
    try:
        require_carried("The task", {"name": text})
    except InvalidDocument:
        return

    assert as_a_pod_gets_it(text) == text
    assert "{{" not in text  # What Argo looks for.
