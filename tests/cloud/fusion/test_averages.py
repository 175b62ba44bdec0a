import resource
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file, save

from cloud.fusion.blocks import Average
from cloud.fusion.files import fuse_files
from cloud.fusion.streaming import BLOCK_BYTES, MOST_OPEN_FILES, Models, Output, blocks, spans, walk
from cloudedge.documents import Fusion
from cloudedge.errors import InvalidInput, InvalidModel, NotFound, StoreFailed
from cloudedge.names import sha256_of
from cloudedge.weights import layout, load, read_header
from cloudedge.weights import save as save_tensors
from tests.cloud.fusion.fusing import delivered, fused, numbers, tensor, written

Floats = npt.NDArray[Any]


def models_and_weights() -> st.SearchStrategy[tuple[Floats, list[int]]]:
    """One to six models of some float32 numbers, shape (models, n), and samples behind each."""
    values = st.floats(-1e6, 1e6, width=32)
    shapes = st.tuples(st.integers(1, 6), st.integers(1, 9))
    return shapes.flatmap(
        lambda shape: st.tuples(
            arrays.arrays(np.float32, shape, elements=values),
            st.lists(st.integers(1, 1000), min_size=shape[0], max_size=shape[0]),
        )
    )


@given(models_and_weights(), st.floats(0, 1))
def test_the_average_is_the_one_of_exact_arithmetic_up_to_rounding(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Floats, list[int]], base_weight: float
) -> None:
    models, samples = drawn
    folder = tmp_path_factory.mktemp("average")
    base = np.ones_like(models[0])
    found = fused(folder, {"w": base}, delivered(folder, [{"w": model} for model in models], samples), base_weight=base_weight)
    shares = np.array([base_weight, *((1 - base_weight) * np.array(samples) / sum(samples))])
    every = np.vstack([base, models]).astype(np.float64)
    largest = np.abs(every).max(axis=0)
    rounding = 2 * len(every) * np.finfo(np.float32).eps * largest
    assert (np.abs(found.model["w"] - shares @ every) <= rounding).all()
    used = every[shares > 0]
    assert (found.model["w"] >= used.min(axis=0) - rounding).all()
    assert (found.model["w"] <= used.max(axis=0) + rounding).all()
    assert sum([found.outcome.base_weight, *found.outcome.weights]) == pytest.approx(1, abs=1e-12)


@given(
    arrays.arrays(np.float32, st.integers(1, 9), elements=st.floats(-1e6, 1e6, width=32)),
    st.lists(st.integers(1, 1000), min_size=1, max_size=9),
)
def test_equal_models_give_back_themselves_up_to_rounding(
    tmp_path_factory: pytest.TempPathFactory, values: Floats, samples: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("equal")
    found = fused(folder, {"w": values}, delivered(folder, [{"w": values}] * len(samples), samples), base_weight=0.25)
    np.testing.assert_array_max_ulp(found.model["w"], values, maxulp=len(samples) + 2)


@given(arrays.arrays(np.float32, st.integers(1, 9), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_a_model_alone_gives_back_its_very_bytes(tmp_path_factory: pytest.TempPathFactory, values: Floats) -> None:
    folder = tmp_path_factory.mktemp("alone")
    found = fused(folder, {"w": np.zeros_like(values)}, delivered(folder, [{"w": values}], [7]))
    assert found.model["w"].tobytes() == values.tobytes()


def test_corresponding_parameters_are_averaged_by_samples(tmp_path: Path) -> None:
    models = [{"a": tensor([1, 2]), "b": tensor([[8]])}, {"a": tensor([5, 10]), "b": tensor([[0]])}]
    base = {"a": tensor([0, 0]), "b": tensor([[0]])}
    found = fused(tmp_path, base, delivered(tmp_path, models, samples=[3, 1]))
    assert found.model["a"].tolist() == [2, 4]
    assert found.model["b"].tolist() == [[6]]
    assert found.outcome.weights == (0.75, 0.25)
    assert found.outcome.base_weight == 0


def test_the_base_model_takes_part_with_its_own_weight(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(8), delivered(tmp_path, [numbers(0), numbers(4)], samples=[1, 3]), base_weight=0.5)
    assert found.model["w"].tolist() == [5.5]
    assert found.outcome.base_weight == 0.5
    assert found.outcome.weights == (0.125, 0.375)


def test_with_the_whole_weight_the_base_model_stays(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(8, -0.0), delivered(tmp_path, [numbers(0, 1)]), base_weight=1)
    assert found.model["w"].tobytes() == numbers(8, -0.0)["w"].tobytes()
    assert found.outcome.weights == (0.0,)


def test_models_far_from_a_light_base_lose_nothing_to_rounding(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(1e8), delivered(tmp_path, [numbers(1.1), numbers(1.1)]), base_weight=1e-12)
    assert found.model["w"][0] == pytest.approx(1.1 + 1e-4, rel=1e-6)


def test_the_order_in_which_models_are_named_changes_no_byte(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    models = [{"w": generator.normal(size=1000).astype(np.float32)} for _ in range(7)]
    contributions = delivered(tmp_path, models, samples=range(1, 8))
    one = fused(tmp_path, models[0], contributions)
    other = fused(tmp_path, models[0], contributions[::-1])
    assert one.content == other.content
    assert one.outcome.weights == other.outcome.weights[::-1]


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_no_byte(tmp_path: Path, threads: int) -> None:
    generator = np.random.default_rng(2)
    size = 3 * BLOCK_BYTES // 4 + 17
    paths = [written(tmp_path / str(i), {"w": generator.normal(size=size).astype(np.float32)}) for i in range(3)]

    def average(path: Path, threads: int) -> bytes:
        with Models(paths) as models, path.open("w+b") as file:
            output = Output(file.fileno(), models.layouts[0])
            computed = Average.of(models.files, [0.2, 0.3, 0.5])
            read = walk(
                blocks(spans(models.layouts)),
                lambda block, buffers: output.write(block, computed.block(block, buffers)),
                threads,
            )
            assert read == 3 * size * 4
        return path.read_bytes()

    assert average(tmp_path / "many", threads) == average(tmp_path / "one", 1)


def test_integers_are_taken_from_the_model_of_the_largest_weight(tmp_path: Path) -> None:
    models = [
        {"n": tensor(5, np.int64), "f": tensor([True, False], np.bool_)},
        {"n": tensor(7, np.int64), "f": tensor([False, True], np.bool_)},
    ]
    found = fused(tmp_path, models[0], delivered(tmp_path, models, samples=[1, 2]))
    assert found.model["n"] == 7
    assert found.model["f"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("fusion", "owner"),
    [
        (Fusion(), "edge-1"),
        (Fusion(base_weight=0.9), "the base model"),
        (Fusion(rule="median"), "edge-1"),
        (Fusion(rule="given", parameters={"weights": {"edge-0": 3, "edge-1": 1}}), "edge-0"),
        (Fusion(rule="fedadam"), "edge-1"),
    ],
)
def test_whose_integers_they_are_is_said_once(tmp_path: Path, fusion: Fusion, owner: str) -> None:
    models = [{"w": tensor([1]), **{name: tensor(number, np.int64) for name in "abcd"}} for number in (5, 7)]
    base = written(tmp_path / "base", {"w": tensor([1]), **{name: tensor(3, np.int64) for name in "abcd"}})
    output = tmp_path / "fused"

    outcome = fuse_files(base, delivered(tmp_path, models, samples=[1, 2]), fusion, output)

    assert outcome.notes == (f"Integers cannot be averaged: a, b, c and 1 more are taken from {owner} alone.",)
    assert load_file(output)["a"] == {"edge-0": 5, "edge-1": 7, "the base model": 3}[owner]


def test_of_models_without_integers_nothing_is_said(tmp_path: Path) -> None:
    assert fused(tmp_path, numbers(1), delivered(tmp_path, [numbers(1)])).outcome.notes == ()


def test_normalisation_statistics_are_averaged_with_the_same_weights(tmp_path: Path) -> None:
    models = [
        {"bn.running_mean": tensor([0]), "bn.running_var": tensor([1]), "bn.num_batches_tracked": tensor(10, np.int64)},
        {"bn.running_mean": tensor([4]), "bn.running_var": tensor([5]), "bn.num_batches_tracked": tensor(30, np.int64)},
    ]
    found = fused(tmp_path, models[0], delivered(tmp_path, models, samples=[1, 3]))
    assert found.model["bn.running_mean"].tolist() == [3]
    assert found.model["bn.running_var"].tolist() == [4]
    assert found.model["bn.num_batches_tracked"] == 30


def test_half_precision_is_summed_in_single_precision(tmp_path: Path) -> None:
    # Summed in float16, the small ones would be lost: 2048 + 1 = 2048.
    models = [numbers(2048, dtype=np.float16), *([numbers(2050, dtype=np.float16)] * 7)]
    found = fused(tmp_path, models[0], delivered(tmp_path, models, samples=[1] * 8))
    assert found.model["w"].dtype == np.float16
    assert found.model["w"].tolist() == [2050]


def test_double_precision_is_summed_in_double_precision(tmp_path: Path) -> None:
    models = [numbers(1, dtype=np.float64), numbers(1 + 2**-40, dtype=np.float64)]
    found = fused(tmp_path, models[0], delivered(tmp_path, models))
    assert found.model["w"].tolist() == [1 + 2**-41]


def test_bfloat16_is_rounded_to_the_nearest(tmp_path: Path) -> None:
    import torch

    generator = torch.Generator().manual_seed(3)
    tensors = [torch.randn(1000, generator=generator).bfloat16() for _ in range(4)]
    contributions = delivered(tmp_path, [numbers(0)] * 4)
    for contribution, values in zip(contributions, tensors, strict=True):
        save_tensors({"w": values}, contribution.path)
    save_tensors({"w": tensors[0]}, tmp_path / "base.safetensors")
    fuse_files(tmp_path / "base.safetensors", contributions, Fusion(rule="uniform"), tmp_path / "fused.safetensors")
    exact = torch.stack(tensors).double().mean(dim=0)
    assert torch.equal(load(tmp_path / "fused.safetensors")["w"], exact.float().bfloat16())


def test_tensors_of_one_two_or_no_numbers_are_fused_too(tmp_path: Path) -> None:
    models = [{"scalar": tensor(i), "none": np.zeros((0, 3), np.float32), "two": tensor([i, i])} for i in (1, 3)]
    found = fused(tmp_path, models[0], delivered(tmp_path, models))
    assert found.model["scalar"] == 2
    assert found.model["none"].shape == (0, 3)
    assert found.model["two"].tolist() == [2, 2]


def test_files_may_keep_their_tensors_in_any_order(tmp_path: Path) -> None:
    # One file has b before a, which the library would never write; the format allows it.
    ordered = save({"a": tensor([1]), "b": tensor([10]), "c": tensor([100])})
    swapped = save({"a": tensor([30]), "b": tensor([3]), "c": tensor([300])})
    swapped = swapped.replace(b'"a"', b'"x"').replace(b'"b"', b'"a"').replace(b'"x"', b'"b"')
    contributions = delivered(tmp_path, [numbers(0)] * 2)
    contributions[0].path.write_bytes(ordered)
    contributions[1].path.write_bytes(swapped)
    found = fused(tmp_path, {name: tensor([0]) for name in "abc"}, contributions)
    assert {name: float(found.model[name][0]) for name in "abc"} == {"a": 2, "b": 20, "c": 200}


def test_more_models_than_files_may_be_open_are_fused(tmp_path: Path) -> None:
    count = MOST_OPEN_FILES + 100
    contributions = delivered(tmp_path, [numbers(i) for i in range(count)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_OPEN_FILES + 64, hard))
    try:
        found = fused(tmp_path, numbers(0), contributions)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.model["w"][0] == pytest.approx((count - 1) / 2, rel=1e-6)


def test_an_edge_that_delivered_a_round_twice_is_counted_once(tmp_path: Path) -> None:
    first, second = delivered(tmp_path, [numbers(2), numbers(6)])
    found = fused(tmp_path, numbers(0), [first, second, first])
    assert found.model["w"].tolist() == [4]
    assert found.outcome.weights == (0.5, 0.5, 0.0)
    assert found.outcome.notes == ("edge-0 delivered round 1 more than once: one of its models is counted.",)


def test_the_outcome_tells_digest_size_and_bytes_read(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(1, 2, 3), delivered(tmp_path, [numbers(1, 2, 3)] * 4))
    assert found.outcome.sha256 == sha256_of(tmp_path / "fused.safetensors")
    assert found.outcome.size == len(found.content)
    # The base has no weight here, so it is not read.
    assert found.outcome.bytes_read == 4 * 3 * 4
    assert layout(tmp_path / "fused.safetensors") == layout(tmp_path / "base.safetensors")


def test_what_the_base_file_says_of_itself_is_kept(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(save(numbers(1), {"format": "pt"}))
    fuse_files(base, delivered(tmp_path, [numbers(1)]), Fusion(), tmp_path / "fused")
    assert read_header(tmp_path / "fused").metadata == {"format": "pt"}


def test_without_a_model_there_is_nothing_to_fuse(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no model to fuse"):
        fused(tmp_path, numbers(1), [])


def test_a_model_with_other_tensors_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"edge-1.safetensors is another model than expected: 'w' is F32 \(2,\)"):
        fused(tmp_path, numbers(1), delivered(tmp_path, [numbers(1), numbers(1, 2)]))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    contributions = delivered(tmp_path, [numbers(1)])
    contributions[0].path.unlink()
    with pytest.raises(NotFound, match=r"edge-0.safetensors"):
        fused(tmp_path, numbers(1), contributions)


@pytest.mark.parametrize("values", [[float("nan"), 1], [float("inf"), 1]])
def test_a_result_that_is_not_finite_is_never_written(tmp_path: Path, values: list[float]) -> None:
    contributions = delivered(tmp_path, [numbers(value) for value in values])
    with pytest.raises(InvalidModel, match="NaN or infinity in or after tensor 'w'"):
        fused(tmp_path, numbers(1), contributions)
    assert not (tmp_path / "fused.safetensors").exists()


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    contributions = delivered(tmp_path, [{"w": np.ones(100_000, np.float32)}])
    base = written(tmp_path / "base", {"w": np.ones(100_000, np.float32)})
    output = tmp_path / "fused"
    output.write_bytes(b"old")
    before = set(tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreFailed, match="raise the limit"):
            fuse_files(base, contributions, Fusion(), output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert output.read_bytes() == b"old"
    assert set(tmp_path.iterdir()) == before
