"""Runs on a cluster's Kubeflow Pipelines: cloudedge submit, status, logs."""

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.runs.run import Run
from cloudedge.errors import EXIT_INTERRUPTED
from cloudedge.names import NAME
from pipelines.commands.options import JsonOption, TaskArgument, print_json, print_table
from pipelines.display.console import console
from pipelines.experiments.task import task_in_file
from pipelines.target import clusters_store

if TYPE_CHECKING:
    from pipelines.kubeflow.answers import KubeflowRun
    from pipelines.kubeflow.client import Kubeflow

RunOnKubeflow = Annotated[str, typer.Argument(metavar="RUN", help="Id of the task, or of Kubeflow's run.")]
HostOption = Annotated[
    str,
    typer.Option("--host", envvar="CLOUDEDGE_KUBEFLOW", help="Address of Kubeflow Pipelines, http(s)://host[:port][/path]."),
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace", envvar="CLOUDEDGE_KUBEFLOW_NAMESPACE", help="Your namespace, in a Kubeflow that gives each user one."
    ),
]
FollowOption = Annotated[bool, typer.Option("--follow", help="Show what it does until it is over.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("submit")(submit)
    app.command("status")(status)
    app.command("logs")(logs)


def submit(
    task: TaskArgument,
    data: Annotated[str, typer.Option("--data", help="The cloud's samples, store:NAME (cloudedge data put).")] = "",
    test_data: Annotated[str, typer.Option("--test-data", help="Samples that nobody trains on, store:NAME.")] = "",
    compact: Annotated[
        bool | None,
        typer.Option(
            "--compact/--flat", help="All rounds in one pipeline task, or a task for each step; else flat up to three rounds."
        ),
    ] = None,
    experiment: Annotated[str, typer.Option("--experiment", help="Kubeflow's experiment.")] = "cloudedge",
    follow: FollowOption = False,
    host: HostOption = "",
    namespace: NamespaceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run a task on Kubeflow. After a failure the same task goes on where it was."""
    from pipelines.kubeflow.submission import submission

    asked, arguments = submission(task_in_file(task), {"--data": data, "--test-data": test_data}, clusters_store())
    kubeflow = _connected(host, namespace)
    made = kubeflow.submit(asked, arguments, experiment, compact)
    if not as_json:
        print(
            f"Submitted {asked.id} as Kubeflow's run {made.id}{f' in namespace {namespace}' if namespace else ''}\n{made.url}"
        )
        if not follow:
            print(f"Follow it with: cloudedge status {asked.id} --follow")
    _show(kubeflow, made, follow, as_json, table=False)


def status(
    run: RunOnKubeflow,
    follow: FollowOption = False,
    host: HostOption = "",
    namespace: NamespaceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show how a run on Kubeflow stands, and each of its tasks."""
    kubeflow = _connected(host, namespace)
    _show(kubeflow, _found(kubeflow, run), follow, as_json, table=True)


def logs(
    run: RunOnKubeflow,
    task: Annotated[str, typer.Option("--task", help="One task, as 'cloudedge status' names it; without it, all.")] = "",
    whole: Annotated[bool, typer.Option("--whole", help="With what Kubeflow and Argo write into the same logs.")] = False,
    host: HostOption = "",
    namespace: NamespaceOption = "",
) -> None:
    """Print what the tasks of a run on Kubeflow said, from their pods in the cluster of the kubeconfig."""
    from pipelines.kubeflow.pods import DEFAULT_NAMESPACE, without_machinery
    from pipelines.kubeflow.pods import logs as logs_of

    found = _found(_connected(host, namespace), run)
    for name, text in logs_of(found, task, namespace or DEFAULT_NAMESPACE):
        print(f"== {name} ==\n{(text if whole else without_machinery(text)).rstrip()}")


def _connected(host: str, namespace: str) -> "Kubeflow":
    from pipelines.kubeflow.client import Kubeflow, KubeflowSettings

    return Kubeflow(KubeflowSettings(kubeflow=host, kubeflow_namespace=namespace))


def _found(kubeflow: "Kubeflow", name: str) -> "KubeflowRun":
    ours = _in_store(name)
    record = ours.kubeflow() if ours else None
    return kubeflow.find(name, record.run if record else "")


def _in_store(name: str) -> Run | None:
    """The run of this id in the cluster's store, if the environment names that, and the form had an id that can be one."""
    store = clusters_store() if re.fullmatch(NAME, name) else None
    return Run(store, name) if store else None


def _show(kubeflow: "Kubeflow", run: "KubeflowRun", follow: bool, as_json: bool, table: bool) -> None:
    from pipelines.kubeflow.progress import described, failure, in_words, rows
    from pipelines.kubeflow.progress import follow as follow_run

    ours = _in_store(run.task_id)
    if follow:
        try:
            run = follow_run(kubeflow, run, ours, console(stderr=True))
        except KeyboardInterrupt:
            print(f"The run goes on. 'cloudedge status {run.task_id} --follow' shows it again.", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    error = failure(run, ours)
    if as_json:
        print_json({**described(run, error), "kubeflow": kubeflow.where})
    elif table or follow:
        since = run.ended or run.began
        print(f"{run.name}: {in_words(run.state)}" + (f", since {since:%Y-%m-%d %H:%M:%S %Z}" if since else ""))
        if table:
            print(run.url)
            if not run.known:
                print("Kubeflow does not have its pipeline any more, or does not show it to you: here is what has begun.")
            print_table(rows(run))
    if error and follow:
        raise error
    if error and not as_json:
        print(error)
