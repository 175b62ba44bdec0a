"""The rooms stand on their own: an edge runs on what an edge installs, and an idle runner loads nothing heavy."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def locked(*names: str) -> set[str]:
    """Distributions in lock files."""
    return {name for lock in names for name in re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE)}


def run_without(forbidden: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python that does not find the modules of some top-level names."""
    block = f"import sys; sys.modules.update(dict.fromkeys({sorted(forbidden)!r}))\n"
    return subprocess.run([sys.executable, "-c", block + code], cwd=ROOT, capture_output=True, text=True, timeout=100)


def modules_of(room: str) -> list[str]:
    files = sorted((ROOT / room).rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def not_at_the_edge() -> set[str]:
    """Top-level modules installed here that the edge's own environment would not have."""
    at_the_edge = locked("requirements-edge.lock", "requirements-torch.lock")
    found = packages_distributions().items()
    owners = {module: {re.sub(r"[-_.]+", "-", owner).lower() for owner in distributions} for module, distributions in found}
    missing = {module for module, names in owners.items() if not names & at_the_edge}
    return (missing | {"cloud", "components", "pipelines"}) - {"cloudedge", "edge"} - set(sys.stdlib_module_names)


def test_everything_of_the_edge_loads_with_only_what_an_edge_installs() -> None:
    missing = not_at_the_edge()
    assert missing >= {"kfp", "mlflow", "kubernetes", "sklearn", "matplotlib"}
    modules = [module for room in ("cloudedge", "edge") for module in modules_of(room) if not module.endswith("__main__")]

    result = run_without(missing, f"import importlib\nfor name in {modules!r}: importlib.import_module(name)")

    assert result.returncode == 0, result.stderr


def test_the_runner_loads_nothing_heavy_until_there_is_work() -> None:
    heavy = [
        "torch",
        "numpy",
        "safetensors",
        "typer",
        "rich",
        "PIL",
        "grpc",
        "cryptography",
        "starlette",
        "uvicorn",
        "onnxruntime",
    ]

    result = run_without(set(), f"import edge.runner.runner\nprint([name for name in {heavy!r} if name in sys.modules])")

    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("lock", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_a_lock_pins_everything_with_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==[^ ]+ ", block), block
        assert "--hash=sha256:" in block
    assert "://" not in text
    assert "--index-url" not in text


def test_only_pytorch_and_its_cuda_libraries_stand_in_their_own_lock() -> None:
    own = locked("requirements-torch.lock")

    assert "torch" in own
    assert all(re.match(r"torch$|triton$|nvidia-|cuda-", name) for name in own)
    assert not own & locked("requirements.lock")


@pytest.mark.parametrize("lock", ["requirements-cloud.lock", "requirements-detector.lock", "requirements-edge.lock"])
def test_an_image_gets_the_very_versions_that_were_tested(lock: str) -> None:
    pins = [
        set(re.findall(r"^[a-z0-9-]+==\S+", (ROOT / name).read_text(), re.MULTILINE)) for name in (lock, "requirements.lock")
    ]

    assert pins[0] <= pins[1]


def test_the_edge_gets_nothing_of_the_clouds_and_the_cloud_no_tools() -> None:
    edge, cloud = locked("requirements-edge.lock"), locked("requirements-cloud.lock")

    # What a production line's nodes say to each other and to its PLC, by which the cloud is not spoken to.
    assert edge - cloud == {"grpcio", "paho-mqtt", "prometheus-client"}
    assert not edge & {"kfp", "kubernetes", "mlflow", "mlflow-skinny", "pandas", "scikit-learn"}
    assert not cloud & {"hatchling", "jupyterlab", "mypy", "playwright", "pytest", "ruff"}
