"""Fusing a round: sound models are averaged, the others are left out and named, and repeating it changes nothing."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cloud.runs.events import events
from cloud.tracking import TrackingLog
from cloudedge import weights
from cloudedge.documents import Fusion, OutputFile
from cloudedge.errors import InvalidInput, InvalidModel, NotFound, QuorumMissed
from cloudedge.names import sha256_of
from components.collaborative_training.fuse.step import fuse_round
from tests.components.cloud import Cloud, content, scores
from tests.digits import EDGES


def tensors_of(cloud: Cloud, key: str) -> dict[str, torch.Tensor]:
    with cloud.store.local(key) as path:
        return weights.load(path)


def test_the_fused_model_is_the_average_by_samples(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(base_weight=0.5)).dispatched()
    for edge, shift, samples in zip(EDGES, (0.0, 1.0, 2.0), (2, 2, 4), strict=True):
        cloud.deliver(edge, shift, samples=samples)
    cloud.waited()

    record = fuse_round(cloud.task.id, 1)

    assert record is not None
    assert [c.weight for c in record.contributions] == [0.125, 0.125, 0.25]
    assert (record.base_weight, record.left_out) == (0.5, ())
    base, fused = tensors_of(cloud, cloud.run.pretrained_key), tensors_of(cloud, cloud.run.fused_key(1))
    for name, tensor in base.items():
        torch.testing.assert_close(fused[name], tensor + 0.125 * 1 + 0.25 * 2)


def test_a_base_model_that_was_altered_in_the_store_is_not_fused(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    for edge in EDGES:
        cloud.deliver(edge)
    cloud.waited()
    with cloud.store.local(cloud.run.pretrained_key) as path:
        original = path.read_bytes()
    cloud.store.put(cloud.run.pretrained_key, original[:-1] + b"\x3f")

    with pytest.raises(InvalidModel, match="pretrained/model.safetensors was altered in the store after it was recorded"):
        fuse_round(cloud.task.id, 1)

    assert cloud.run.fusion(1) is None
    cloud.store.put(cloud.run.pretrained_key, original)
    assert fuse_round(cloud.task.id, 1) is not None


def test_the_record_says_where_the_model_comes_from(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    files = [cloud.deliver(edge, 0.1 * number) for number, edge in enumerate(EDGES)]
    cloud.waited()

    record = fuse_round(cloud.task.id, 1)

    pretraining = cloud.run.pretraining()
    assert record is not None
    assert pretraining is not None
    assert record == cloud.run.fusion(1)
    assert record.base_sha256 == pretraining.sha256
    assert record.base_accuracy == pytest.approx(0.4)
    assert [c.sha256 for c in record.contributions] == [sha256_of(path) for path in files]
    with cloud.store.local(cloud.run.fused_key(1)) as path:
        assert (record.sha256, record.size) == (sha256_of(path), path.stat().st_size)
    (told,) = TrackingLog(cloud.store, cloud.task.id).read("fuse-000001").records
    assert {(p.key, p.step, round(p.value, 9)) for p in told.metrics} == {
        ("contributions", 1, 3.0),
        ("left_out", 1, 0.0),
        ("accuracy_of_edge_models", 1, 0.8),
        ("accuracy_on_edges", 0, 0.4),
    }


def test_files_that_an_edge_passed_over_are_said_once(cloud: Cloud) -> None:
    cloud.pretrained(rounds=2).dispatched()
    for round_number in (1, 2):
        cloud.dispatched(round_number)
        for edge in EDGES:
            cloud.deliver(edge, files_passed_over=2 if edge == "edge-2" else 0)
        cloud.waited(round_number)
        fuse_round(cloud.task.id, round_number)
    told = [event.details for _, event in events(cloud.store, cloud.task.id) if event.action == "files-passed-over"]
    assert told == [{"round": 1, "edge": "edge-2", "files": 2}]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def put_more(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 4)


def claim_a_huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (flip_a_byte, "SHA-256"),
        (cut_short, "bytes"),
        (put_more, "bytes"),
        (claim_a_huge_header, ""),
        (remove, "no object"),
    ],
)
def test_a_file_that_is_not_what_the_manifest_says_is_left_out(
    cloud: Cloud, tamper: Callable[[Path], None], reason: str
) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    tamper(cloud.deliver("edge-3"))
    cloud.waited()

    record = fuse_round(cloud.task.id, 1)

    assert_left_out(record, "edge-3", reason)


def not_a_number(tensors: dict[str, Any]) -> None:
    next(iter(tensors.values())).view(-1)[0] = float("nan")


def infinite(tensors: dict[str, Any]) -> None:
    next(iter(tensors.values())).view(-1)[-1] = float("inf")


def misnamed(tensors: dict[str, Any]) -> None:
    tensors["other"] = tensors.pop(next(iter(tensors)))


def one_more(tensors: dict[str, Any]) -> None:
    tensors["more"] = torch.zeros(3)


def far_too_large(tensors: dict[str, Any]) -> None:
    next(iter(tensors.values())).view(-1)[0] = 1e30


def other_shape(tensors: dict[str, Any]) -> None:
    name, tensor = next(iter(tensors.items()))
    tensors[name] = tensor.reshape(1, *tensor.shape)


def other_type(tensors: dict[str, Any]) -> None:
    name, tensor = next(iter(tensors.items()))
    tensors[name] = tensor.to(torch.float64)


def test_a_finite_model_that_no_rule_could_compute_with_ends_nobodys_run(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2, fusion=Fusion(rule="fedadam")).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.deliver("edge-3", change=far_too_large)
    cloud.waited()

    assert_left_out(fuse_round(cloud.task.id, 1), "edge-3", "numbers beyond 1e+18")


def test_where_all_models_are_spoiled_nobody_is_told_to_run_the_same_task_again(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    for edge in EDGES:
        cloud.deliver(edge, change=not_a_number)
    cloud.waited()

    with pytest.raises(QuorumMissed) as missed:
        fuse_round(cloud.task.id, 1)

    assert "run the same task again" not in str(missed.value)
    assert str(missed.value).splitlines()[-1].startswith("Training that diverged does so again with the same task")


@pytest.mark.parametrize("change", [not_a_number, infinite, far_too_large, misnamed, one_more, other_shape, other_type])
def test_a_model_that_is_not_of_this_network_is_left_out(cloud: Cloud, change: Callable[[dict[str, Any]], None]) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.deliver("edge-3", change=change)
    cloud.waited()

    assert_left_out(fuse_round(cloud.task.id, 1), "edge-3", "")


def test_an_edge_that_measures_nothing_contributes_and_is_in_no_average_of_accuracies(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(rule="accuracy")).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.deliver("edge-3", scores={"base": scores(0, 0), "model": scores(0, 0)})
    cloud.waited()

    record = fuse_round(cloud.task.id, 1)

    assert record is not None
    assert [c.accuracy for c in record.contributions] == [0.8, 0.8, None]
    assert [c.weight for c in record.contributions] == pytest.approx([1 / 3] * 3)
    assert record.base_accuracy == pytest.approx(0.4)
    (told,) = TrackingLog(cloud.store, cloud.task.id).read("fuse-000001").records
    assert {point.key: point.value for point in told.metrics}["accuracy_of_edge_models"] == pytest.approx(0.8)
    unmeasured = [event.details for _, event in events(cloud.store, cloud.task.id) if event.action == "unmeasured"]
    assert unmeasured == [{"round": 1, "edges": ["edge-3"], "of": 3}]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"samples": 0}, "it trained on no sample"),
        ({"samples": 10**15, "label_histogram": {"0": 12}}, "claims 1000000000000000 samples, but counts 12 by class"),
        ({"names_a_model": False}, "its manifest names no model"),
        ({"scores": {"base": scores(0.5)}}, "no scores of the trained model"),
        ({"model": OutputFile(sha256="0" * 64, size=7)}, "7"),
    ],
)
def test_a_manifest_that_cannot_be_true_is_left_out(cloud: Cloud, said: dict[str, Any], reason: str) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.deliver("edge-3", **said)
    cloud.waited()

    assert_left_out(fuse_round(cloud.task.id, 1), "edge-3", reason)


def assert_left_out(record: Any, edge: str, reason: str) -> None:
    assert [c.edge for c in record.contributions] == [one for one in EDGES if one != edge]
    assert [one.edge for one in record.left_out] == [edge]
    assert reason in record.left_out[0].reason
    assert record.left_out[0].reason


def test_absentees_are_in_the_record(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.waited()

    assert_left_out(fuse_round(cloud.task.id, 1), "edge-3", "no sign of life")


def test_too_few_sound_models_miss_the_quorum_and_name_each_edge(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    flip_a_byte(cloud.deliver("edge-2"))
    cloud.waited()

    with pytest.raises(QuorumMissed) as missed:
        fuse_round(cloud.task.id, 1)

    lines = str(missed.value).splitlines()
    assert lines[0] == "Round 1 has 1 sound models of the 2 it needs:"
    assert [line[:12] for line in lines[1:3]] == ["  - edge-3: ", "  - edge-2: "]
    assert "which asks them anew" in lines[3]
    assert cloud.open_orders() == []


def test_after_unsound_models_the_same_run_goes_on_to_the_undisturbed_bytes(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    for edge in EDGES[:2]:
        cloud.deliver(edge)
    flip_a_byte(cloud.deliver("edge-3"))
    cloud.waited()
    with pytest.raises(QuorumMissed):
        fuse_round(cloud.task.id, 1)

    cloud.pretrained().dispatched()
    assert cloud.open_orders() == ["digits.1.edge-3.2"]
    cloud.deliver("edge-3")
    cloud.waited()
    mended = fuse_round(cloud.task.id, 1)

    undisturbed = Cloud(cloud.root, cloud.task.model_copy(update={"id": "undisturbed"}), cloud.cloud_data)
    undisturbed.pretrained().dispatched()
    for edge in EDGES:
        (order,) = [order for order in undisturbed.orders(edge) if order.run == "undisturbed"]
        undisturbed.deliver(edge, order=order)
    undisturbed.waited()
    record = fuse_round("undisturbed", 1)
    assert mended is not None
    assert record is not None
    assert mended.sha256 == record.sha256


def test_repeated_it_changes_nothing(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(rule="fedadam")).round(1, EDGES)
    before = content(cloud.store, cloud.run.key("rounds"), cloud.run.key("tracking"))

    assert fuse_round(cloud.task.id, 1) == cloud.run.fusion(1)
    assert content(cloud.store, cloud.run.key("rounds"), cloud.run.key("tracking")) == before


def test_killed_before_its_record_was_written_it_gives_the_same_bytes_again(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(rule="fedadam")).round(1, EDGES)
    cloud.round(2, EDGES)
    before = content(cloud.store, cloud.run.round_key(2))
    record_key = cloud.run.round_key(2, "fusion.json")
    cloud.store.delete(record_key)

    record = fuse_round(cloud.task.id, 2)

    assert record is not None
    after = content(cloud.store, cloud.run.round_key(2))
    assert {key for key in after if after[key] != before[key]} <= {record_key}


def test_a_server_optimizer_remembers_from_round_to_round(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(rule="fedavgm")).round(1, EDGES)
    cloud.round(2, EDGES)

    assert cloud.store.stat(cloud.run.round_key(1, "optimizer.safetensors")) is not None
    base, first, second = (tensors_of(cloud, cloud.run.fused_key(number)) for number in (0, 1, 2))
    name = next(iter(base))
    # In the first round the edges' shift is 0.1, in the second 0.2; momentum adds to it.
    assert (second[name] - first[name]).mean() > (first[name] - base[name]).mean() + 0.11


def test_greedy_measures_on_the_clouds_held_out_samples(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(rule="greedy"), quorum=1).dispatched()
    cloud.deliver("edge-1", 0.0)
    cloud.waited()

    record = fuse_round(cloud.task.id, 1, str(cloud.cloud_data))

    assert record is not None
    assert [c.weight for c in record.contributions] == [1.0]


def test_greedy_without_samples_says_what_to_give(cloud: Cloud) -> None:
    cloud.pretrained(fusion=Fusion(rule="greedy"), quorum=1).dispatched()
    cloud.deliver("edge-1")
    cloud.waited()

    with pytest.raises(InvalidInput, match="give the cloud's samples, or use another rule"):
        fuse_round(cloud.task.id, 1)


def test_a_round_that_was_not_waited_for_is_refused(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()

    with pytest.raises(NotFound, match="Round 1 of digits was not waited for yet"):
        fuse_round(cloud.task.id, 1)
