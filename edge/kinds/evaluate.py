"""Measures models on this edge's held-out samples. Only the scores leave the edge."""

import time
from pathlib import Path

from cloudedge.documents import Evaluate, Evaluated, Phase, Stream
from cloudedge.models import build
from cloudedge.training import device, evaluate, use_threads
from edge.folders import Folders
from edge.inputs import Collector, fetch, load_checked, seed_of
from edge.messages import Job, Message, Say
from edge.results import deliver


def work(job: Job, asked: Evaluate, say: Say) -> None:
    """Do an order to evaluate.

    Raises:
        CloudedgeError: it cannot be done.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
    use_threads(asked.training.threads)
    say(Message(phase=Phase.FETCHING))
    models = {
        name: fetch(job, file, folders.received(order.id) / f"{file.sha256}.safetensors")
        for name, file in sorted(order.inputs.items())
    }
    collector = Collector(job, asked.data, say)
    collection = collector.first()
    # Without any it answers all the same, as measured on 0 samples: that is for the cloud to know, and no failure of the work.
    held_out = collector.samples(collection, held_out=True)
    say(Message(phase=Phase.EVALUATING, progress=_progress(0, len(models))))
    model = build(asked.model, asked.data, seed_of(order, asked.seed))
    scores = {}
    for name, path in models.items():
        load_checked(model, order.inputs[name], path)
        scores[name] = evaluate(model.to(device()), held_out, asked.training.loss)
        say(Message(progress=_progress(len(scores), len(models))))
    result = Evaluated(
        data_fingerprint=collector.fingerprint(collection),
        files_passed_over=len(collector.bad_files()),
        scores=scores,
    )
    deliver(job, result, time.monotonic() - started)


def _progress(done: int, models: int) -> tuple[Stream]:
    return (Stream(name="models", done=done, total=models, unit="models"),)
