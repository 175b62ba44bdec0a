"""What is shown of a pod's log."""

from pipelines.pods import without_machinery

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
