"""What a rule says of the memory of a training, against what real trainings take, each in a process of its own."""

import subprocess
import sys

import pytest

from cloudedge.automl.costs import training_bytes
from cloudedge.automl.layers import layers_of
from cloudedge.automl.space import spec
from cloudedge.documents import Training
from cloudedge.documents.automl import Candidate
from tests.cloudedge.automl.test_graph import a_format

TRAINING = Training(epochs=1, batch_size=32, learning_rate=0.001, optimizer="adam")
SHAPE = (3, 64, 64)
HELD_OUT = 40

PROGRAM = """
import sys
from pathlib import Path

import torch

from cloudedge.automl.space import spec
from cloudedge.data import Samples
from cloudedge.documents.automl import Candidate
from cloudedge.models import build
from cloudedge.training import train, use_threads
from tests.cloudedge.automl.test_graph import a_format
from tests.cloudedge.automl.test_training_memory import HELD_OUT, SHAPE, TRAINING


def kib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


use_threads(1)
training, held_out = (
    Samples(torch.rand(count, *SHAPE), torch.arange(count) % 3) for count in (2 * TRAINING.batch_size, HELD_OUT)
)
model = build(spec(Candidate.model_validate_json(sys.argv[1])), a_format(SHAPE), 0)
before, code = kib("VmRSS"), kib("RssFile")
Path("/proc/self/clear_refs").write_text("5")
train(model, training, held_out, TRAINING, 0)
print((kib("VmHWM") - before - (kib("RssFile") - code)) * 1024)
"""


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(layers=1, filters=4, kernel=3),
        Candidate(layers=3, filters=16, kernel=3),
        Candidate(layers=4, filters=64, kernel=5),
    ],
    ids=lambda each: f"{each.layers}-{each.filters}-{each.kernel}",
)
def test_the_memory_of_a_training_is_told_from_its_layers(candidate: Candidate) -> None:
    command = [sys.executable, "-c", PROGRAM, candidate.model_dump_json()]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    told = training_bytes(layers_of(spec(candidate), a_format(SHAPE)), TRAINING, TRAINING.batch_size, HELD_OUT)
    assert 0.4 * told < taken < 2 * told
