"""Which pods are shown of a run, and what of their logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.kubeflow.answers import KubeflowTask
from pipelines.kubeflow.nodes import node
from pipelines.kubeflow.pods import told, without_machinery

TASKS = [KubeflowTask(key, name, "RUNNING") for key, name in (("pretrain", "Pretrain"), ("wait-2", "Round 2: wait"))]

LOG = """\
time=2026-01-02T03:04:05.404Z level=INFO msg="waiting for signals" argo=true
I0102 03:04:05.538665      26 launcher_v2.go:90] input ComponentSpec:{
  "inputDefinitions": {
    "parameters": {}
  }
}
[KFP Executor 2026-01-02 03:04:05,670 INFO]: Got executor_input:
{
    "inputs": {}
}
03:04:06  Round 1: 3 orders to train are out, 0 edges are still at work.
Traceback (most recent call last):
  File "step.py", line 1, in <module>
    work()
OSError: [Errno 28] No space left on device
W0102 03:04:07.898825      26 launcher_v2.go:441] Local filepath "/minio" does not exist
F0102 03:04:07.898825      26 main.go:49] failed to execute component: exit status 1
time=2026-01-02T03:04:08.500Z level=ERROR msg="cannot save parameter" argo=true
"""


def test_of_a_pods_log_what_the_step_said_and_what_failed_is_kept() -> None:
    assert without_machinery(LOG).splitlines() == [
        "03:04:06  Round 1: 3 orders to train are out, 0 edges are still at work.",
        "Traceback (most recent call last):",
        '  File "step.py", line 1, in <module>',
        "    work()",
        "OSError: [Errno 28] No space left on device",
        "F0102 03:04:07.898825      26 main.go:49] failed to execute component: exit status 1",
        'time=2026-01-02T03:04:08.500Z level=ERROR msg="cannot save parameter" argo=true',
    ]


@pytest.mark.parametrize(
    ("name", "path", "tries"),
    [
        # As Argo names what is done once, and what it may try again, which 2.17's manifests have it do at every depth.
        ("w-1.root.pretrain.executor", ("pretrain", "executor"), ()),
        ("w-1(0).root(0).pretrain(0).executor(0)", ("pretrain", "executor"), (0, 0, 0, 0)),
        ("w-1.root.pretrain.executor(2)", ("pretrain", "executor"), (2,)),
        ("w-1(0).root(0).wait-2(1).executor(0)", ("wait-2", "executor"), (0, 0, 1, 0)),
        ("w-1.root.pretrain-driver", ("pretrain-driver",), ()),
        ("w-1(0).root(0).pretrain-driver(1)", ("pretrain-driver",), (0, 0, 1)),
        ("w-1(0).root-driver(0)", ("root-driver",), (0, 0)),
        ("w-1(0).root(0)", ("root",), (0, 0)),
        ("w-1", ("w-1",), ()),
        # Turns of a loop, by their number and item.
        ("w-1.root.loop(1:1).train.executor", ("loop(1:1)", "train", "executor"), ()),
        ("w-1(0).root(0).loop(0:a.b)(1).train(0).executor(0)", ("loop(0:a.b)", "train", "executor"), (0, 0, 1, 0, 0)),
        ("w-1.root.loop(0:x:1,y:2.5)-driver", ("loop(0:x:1,y:2.5)-driver",), ()),
        ("", ("",), ()),
    ],
)
def test_a_nodes_name_tells_where_it_is_and_which_try(name: str, path: tuple[str, ...], tries: tuple[int, ...]) -> None:
    assert node(name) == (path, tries)


@given(name=st.text("ab.()0:-", max_size=20), keys=st.lists(st.sampled_from(["a", "b", "a-driver"])))
def test_any_name_is_one_of_a_node(name: str, keys: list[str]) -> None:
    found = node(name)

    assert found.path
    assert found.task_of(keys) in ["", *keys]
    assert found.prepares in (True, False)


def shown(*names: str, task: str = "", failed: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return told(TASKS, task, {name: node(name) for name in names}, failed)


@pytest.mark.parametrize(
    ("first", "again", "newest"),
    [
        ("w.root.pretrain.executor(0)", "w.root.pretrain.executor(1)", "w.root.pretrain.executor(10)"),
        (
            "w(0).root(0).pretrain(0).executor(0)",
            "w(0).root(0).pretrain(0).executor(1)",
            "w(0).root(0).pretrain(1).executor(0)",
        ),
    ],
)
def test_earlier_tries_of_a_task_come_first_and_say_so(first: str, again: str, newest: str) -> None:
    assert shown(newest, first, again) == [("Pretrain, try 1", first), ("Pretrain, try 2", again), ("Pretrain", newest)]


def test_tasks_come_in_their_order_and_one_of_them_alone_by_its_name() -> None:
    pretrain, wait = "w(0).root(0).pretrain(0).executor(0)", "w(0).root(0).wait-2(0).executor(0)"

    assert shown(wait, pretrain) == [("Pretrain", pretrain), ("Round 2: wait", wait)]
    assert shown(wait, pretrain, task="Round 2: wait") == [("Round 2: wait", wait)]


def test_of_what_prepares_tasks_only_that_which_failed_is_shown() -> None:
    whole, driver, done = "w(0).root-driver(0)", "w(0).root(0).wait-2-driver(0)", "w(0).root(0).pretrain-driver(0)"

    assert shown(driver, done, whole) == []
    assert shown(driver, done, whole, failed=(driver, whole)) == [
        ("The run, prepared by Kubeflow", whole),
        ("Round 2: wait, prepared by Kubeflow", driver),
    ]
    assert shown(driver, whole, task="Round 2: wait", failed=(driver, whole)) == [
        ("Round 2: wait, prepared by Kubeflow", driver)
    ]


def test_what_lies_deeper_in_a_task_says_where() -> None:
    turns = [f"w.root.wait-2.loop({turn}:{turn}).train.executor" for turn in range(2)]

    assert [title for title, _ in shown(*turns)] == ["Round 2: wait: loop(0:0): train", "Round 2: wait: loop(1:1): train"]
