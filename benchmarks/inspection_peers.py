"""anomalib's PaDiM and PatchCore on the images and with the backbone's weights that `benchmarks.inspection_models` gives them.

Runs in an environment of its own, where anomalib is installed and cloudedge is not:

    python inspection_peers.py FOLDER

FOLDER has `weights.npz`, and for each case `<case>.npz` with the arrays train and test (images, height, width, 3). It writes
`<case>.<peer>.npz`, with scores and maps of the test images, and the seconds of the processor that training and one image took.

Each is trained twice: by its torch model alone (features, then the fit), which is the least that it can take, and where asked
by anomalib's own Engine from a folder of PNG files, as its users do. Scores and maps come from the former.
"""

import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

BACKBONE = "tf_efficientnet_lite0"
LAYERS = {"padim": ["blocks.1", "blocks.2", "blocks.4"], "patchcore": ["blocks.2", "blocks.4"]}
"""Of the strides that the papers' layers have: 4, 8 and 16; 8 and 16."""

FEATURES = 100
"""That PaDiM keeps of them at random, as its paper has it for the smaller backbone."""


def main() -> None:
    """Do all cases."""
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    folder, by_engine = Path(sys.argv[1]), set(sys.argv[2:])
    torch.set_num_threads(1)
    weights = dict(np.load(folder / "weights.npz"))
    for case in sorted(folder.glob("*.npz")):
        if case.name == "weights.npz" or case.name.count(".") > 1:
            continue
        arrays = np.load(case)
        for peer in LAYERS:
            found = _alone(peer, weights, arrays["train"], arrays["test"])
            if case.stem in by_engine:
                found["engine_seconds"] = _by_engine(peer, weights, arrays["train"])
            np.savez(case.with_suffix(f".{peer}.npz"), **found)
            print(json.dumps({"case": case.stem, "peer": peer}), flush=True)


def _model(peer: str, weights: dict[str, Any]) -> Any:
    import torch
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    torch.manual_seed(0)
    if peer == "padim":
        model = PadimModel(backbone=BACKBONE, layers=LAYERS[peer], pre_trained=False, n_features=FEATURES)
    else:
        model = PatchcoreModel(backbone=BACKBONE, layers=LAYERS[peer], pre_trained=False)
    _load(model, weights)
    return model


def _load(model: Any, weights: dict[str, Any]) -> None:
    """Give timm's network the same weights: its tensors stand in the same order, under other names."""
    import torch

    network = model.feature_extractor.feature_extractor
    state = network.state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    for name, values in zip(names, list(weights.values())[: len(names)], strict=True):
        if state[name].shape != values.shape:
            raise ValueError(f"{name} has the shape {tuple(state[name].shape)}, not {values.shape}")
        state[name] = torch.from_numpy(values)
    network.load_state_dict(state)


def _normalised(images: Any) -> Any:
    import torch

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(images).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def _alone(peer: str, weights: dict[str, Any], train: Any, test: Any) -> dict[str, Any]:
    import torch

    model = _model(peer, weights)
    began = time.process_time()
    model.train()
    model.feature_extractor.eval()
    with torch.no_grad():
        for begin in range(0, len(train), 8):
            model(_normalised(train[begin : begin + 8]))
        if peer == "padim":
            model.fit()
        else:
            model.subsample_embedding(0.1)
    training_seconds = time.process_time() - began
    model.eval()
    scores, maps, seconds = [], [], []
    with torch.no_grad():
        for image in test:
            began = time.process_time()
            found = model(_normalised(image[np.newaxis]))
            seconds.append(time.process_time() - began)
            scores.append(
                float(found.pred_score.reshape(-1)[0]) if found.pred_score is not None else float(found.anomaly_map.max())
            )
            maps.append(found.anomaly_map[0, 0].numpy())
    return {
        "scores": np.array(scores),
        "maps": np.stack(maps).astype(np.float32),
        "training_seconds": training_seconds,
        "image_seconds": float(np.median(seconds)),
    }


def _by_engine(peer: str, weights: dict[str, Any], train: Any) -> float:
    """Seconds of a training as anomalib's users do it."""
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Padim, Patchcore
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        # It does not train without images to validate on: two of each kind, the least.
        for kind_of, images in {"normal": train, "normal-test": train[:2], "abnormal": 255 - train[:2]}.items():
            (Path(name) / kind_of).mkdir()
            for number, image in enumerate(images):
                Image.fromarray(image).save(Path(name) / kind_of / f"{number}.png")
        began = time.process_time()
        data = Folder(
            name="texture",
            root=name,
            normal_dir="normal",
            normal_test_dir="normal-test",
            abnormal_dir="abnormal",
            train_batch_size=8,
            num_workers=0,
            val_split_mode="same_as_test",
        )
        kind = {"padim": Padim, "patchcore": Patchcore}[peer]
        more = {"n_features": FEATURES} if peer == "padim" else {}
        size = kind.configure_pre_processor(image_size=train.shape[1:3])
        model = kind(backbone=BACKBONE, layers=LAYERS[peer], pre_trained=False, pre_processor=size, **more)
        _load(model.model, weights)
        engine = Engine(
            default_root_dir=Path(name) / "results", accelerator="cpu", devices=1, logger=False, enable_progress_bar=False
        )
        engine.fit(model=model, datamodule=data)
        return time.process_time() - began


if __name__ == "__main__":
    main()
