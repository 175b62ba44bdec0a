"""A Kubeflow that answers what a test has it answer, so that it can be asked what a real one says now and then only."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipelines.kubeflow.client import Kubeflow, KubeflowSettings

VERSION = {"pipeline_id": "p1", "pipeline_version_id": "v1"}
SPEC = {
    "root": {
        "dag": {
            "tasks": {
                "pretrain": {"taskInfo": {"name": "Pretrain"}},
                "wait": {"taskInfo": {"name": "Round 1: wait"}, "dependentTasks": ["pretrain"]},
            }
        }
    }
}
RUN = "00000000-0000-4000-8000-000000000001"


class AnsweringKubeflow:
    """Kubeflow's API, of which only looking at runs is there.

    Attributes:
        runs: Its runs by id, the newest first; as its API describes them.
        versions: Specifications of uploaded pipelines' versions.
        workflows: What Argo made of runs, by their ids.
        asked: Paths that were asked for, in their order.
        page: What it answers instead, if anything, as a company's sign-in does.
        away: Paths with this in them are answered by a proxy that does not reach it; empty: none.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.runs: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.workflows: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.page = ""
        self.away = ""

    def add(self, run_id: str = RUN, **said: Any) -> str:
        """Add a run older than those that are there: one of our pipeline that was started in the UI, but for what is said."""
        self.runs[run_id] = {
            "run_id": run_id,
            "display_name": "Run of bearings",
            "state": "SUCCEEDED",
            "created_at": "2026-01-02T03:00:00Z",
            "finished_at": "2026-01-02T04:00:00Z",
            "runtime_config": {"parameters": {"task_id": "bearings"}},
            "pipeline_version_reference": VERSION,
            **said,
        }
        return run_id

    def connected(self) -> Kubeflow:
        """What our commands ask it with."""
        return Kubeflow(KubeflowSettings(kubeflow=self.url))

    def listings(self) -> int:
        """How often it was asked for a list of runs."""
        return sum(urlsplit(path).path.endswith("/runs") for path in self.asked)

    def answer(self, path: str) -> Any:
        """What it says to a path; none: that it is not there."""
        self.asked.append(path)
        parts = urlsplit(path)
        match parts.path.strip("/").split("/"):
            case ["apis", _, "healthz"]:
                return {"multi_user": False}
            case ["apis", "v1beta1", "runs", run]:
                workflow = self.workflows.get(run)
                return workflow and {"pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}
            case ["apis", _, "runs", run]:
                return self.runs.get(run)
            case ["apis", _, "runs"]:
                return self._listed({name: values[0] for name, values in parse_qs(parts.query).items()})
            case ["apis", _, "pipelines", _, "versions", version]:
                return self.versions.get(version) and {"pipeline_spec": self.versions[version]}
        return None

    def _listed(self, query: dict[str, str]) -> dict[str, Any]:
        found = list(self.runs.values())
        for wanted in json.loads(query.get("filter", '{"predicates": []}'))["predicates"]:
            match wanted["operation"]:
                case "IN":
                    found = [run for run in found if run.get("state") in wanted["stringValues"]["values"]]
                case "IS_SUBSTRING":
                    found = [run for run in found if wanted["stringValue"] in (run.get("display_name") or "")]
        size, start = int(query["page_size"]), int(query.get("page_token", "0"))
        more = {"next_page_token": str(start + size)} if len(found) > start + size else {}
        return {"runs": found[start : start + size], **more}


@contextmanager
def answering_kubeflow() -> Iterator[AnsweringKubeflow]:
    """Have one answer for a while."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if kubeflow.away and kubeflow.away in self.path:
                self.send_error(502)
                return
            said = kubeflow.answer(self.path)
            kind = "text/html" if kubeflow.page else "application/json"
            self.send_response(404 if said is None and not kubeflow.page else 200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            missing = {"message": "There is no such thing."}
            self.wfile.write((kubeflow.page or json.dumps(missing if said is None else said)).encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        kubeflow = AnsweringKubeflow(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kubeflow
        finally:
            server.shutdown()
            thread.join()
