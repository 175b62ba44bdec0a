"""A model at work: its file, checked and loaded by onnxruntime, and judgement by what it says of an image."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudedge.deployable.checking import check
from cloudedge.deployable.runtime import onnxruntime
from cloudedge.documents.deployable import Datatype, Deployable, Tensor
from cloudedge.errors import InvalidInput, InvalidModel, WorkFailed
from cloudedge.inspection.images import Pixels, prepared

Array = npt.NDArray[Any]

NUMPY_TYPES: Mapping[Datatype, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
"""Numpy's types by the Open Inference Protocol's words for them."""

MOST_BATCH = 4096
"""Samples at a time."""

MOST_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
"""That all models of this process together may compute in: a model that wants more fails, and nothing else does."""

WARM_UP_SECONDS = 60
"""A model whose first run takes longer is none to work with."""


@dataclass(frozen=True)
class Judgement:
    """What a model says of an image.

    Attributes:
        score: How far it is from what is normal; none: the model gives no score.
        reject: Whether the part is rejected: its score is above the model's threshold.
        defect: Most likely class, where the model tells classes apart; empty for a part that it might reject and does not.
        map: The score place by place, float32 of shape (height, width); none: the model gives none.
    """

    score: float | None
    reject: bool
    defect: str
    map: npt.NDArray[np.float32] | None


class Session:
    """A model that is loaded. Any thread may use it, and several may at once."""

    def __init__(self, path: Path, deployable: Deployable, threads: int = 1) -> None:
        """Check a model's file and load it.

        Args:
            path: The ONNX file.
            deployable: Its manifest.
            threads: CPU threads that one run computes with.

        Raises:
            InvalidModel: the file is not the model that the manifest announces, or one that cannot be run.
            NotFound: there is no such file.
            StoreFailed: it cannot be read.
        """
        check(path, deployable)
        _share_memory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # What goes wrong is raised, too.
        options.enable_mem_pattern = False  # Plans for each shape of a batch that ever came would be kept.
        options.add_session_config_entry("session.use_env_allocators", "1")
        # Weights outside of the pool: what a session that is gone had goes back to the system.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # Constants are not folded: a small file could ask for any amount of memory before a run is bounded.
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
            )
        except Exception as error:  # It raises many kinds, all of its own.
            raise InvalidModel(f"{path.name} cannot be loaded: {_first_line(error)}. Export it again.") from None
        self.deployable = deployable
        self._inputs = {tensor.name: tensor for tensor in deployable.inputs}
        self._outputs = [tensor.name for tensor in deployable.outputs]

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model.

        Args:
            inputs: An array for each input of the model, by name, of its type and shape; all with the same batch.

        Returns:
            An array for each output, by name.

        Raises:
            InvalidInput: the names, types or shapes are not the model's.
            WorkFailed: the run failed.
        """
        self._check_inputs(inputs)
        return self._run(inputs, onnxruntime.RunOptions())

    def warm_up(self) -> None:
        """Run the model once on zeros, so that the first image takes no longer than the next.

        Raises:
            WorkFailed: the run failed, or took longer than `WARM_UP_SECONDS`.
        """
        inputs = {
            name: np.zeros([1 if length == -1 else length for length in tensor.shape], NUMPY_TYPES[tensor.datatype])
            for name, tensor in self._inputs.items()
        }
        options = onnxruntime.RunOptions()
        watch = threading.Timer(WARM_UP_SECONDS, lambda: setattr(options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            outputs = self._run(inputs, options)
        finally:
            watch.cancel()
        for tensor in self.deployable.outputs:
            _check_output(tensor, outputs[tensor.name])

    def _run(self, inputs: Mapping[str, Array], options: onnxruntime.RunOptions) -> dict[str, Array]:
        try:
            found = self._session.run(self._outputs, dict(inputs), options)
        except Exception as error:  # It raises many kinds, all of its own.
            raise WorkFailed(f"The model {self.deployable.name!r} failed: {_first_line(error)}.") from None
        return dict(zip(self._outputs, found, strict=True))

    def _check_inputs(self, inputs: Mapping[str, Array]) -> None:
        if inputs.keys() != self._inputs.keys():
            raise InvalidInput(
                f"The model {self.deployable.name!r} has the inputs {', '.join(self._inputs)}, and got "
                f"{', '.join(map(repr, inputs)) or 'none'}. Give those."
            )
        batches = set()
        for name, values in inputs.items():
            tensor = self._inputs[name]
            fits = len(values.shape) == len(tensor.shape) and all(
                length in (-1, found) for length, found in zip(tensor.shape, values.shape, strict=True)
            )
            if values.dtype != NUMPY_TYPES[tensor.datatype] or not fits:
                raise InvalidInput(
                    f"The input {name!r} of the model {self.deployable.name!r} is {tensor.datatype} of shape "
                    f"{list(tensor.shape)}, and got {values.dtype} of shape {list(values.shape)}. Convert it; -1 is the batch."
                )
            if tensor.shape[0] == -1:
                batches.add(values.shape[0])
        if len(batches) > 1 or not all(1 <= batch <= MOST_BATCH for batch in batches):
            raise InvalidInput(
                f"The inputs of the model {self.deployable.name!r} have batches of {', '.join(map(str, sorted(batches)))}. "
                f"Give one batch of 1 to {MOST_BATCH}."
            )


def judge(session: Session, image: Pixels) -> Judgement:
    """Judge an image.

    Args:
        session: An image model.
        image: uint8 of shape (height, width, 3), RGB, of any size.

    Raises:
        InvalidInput: the model is for no images.
        InvalidSamples: this is no image.
        WorkFailed: the model failed on it, or gave a score that is no number.
    """
    deployable = session.deployable
    if deployable.image is None:
        raise InvalidInput(f"The model {deployable.name!r} judges no images. Deploy an inspection model, or one with an image.")
    outputs = session.infer({deployable.inputs[0].name: prepared(image, deployable.image)[np.newaxis]})
    score = float(outputs["score"].reshape(-1)[0]) if "score" in outputs else None
    if score is not None and not np.isfinite(score):
        raise WorkFailed(f"The model {deployable.name!r} gave the score {score}. Train it again.")
    reject = score is not None and deployable.threshold is not None and score > deployable.threshold
    defect = ""
    if deployable.classes and (reject or deployable.threshold is None):
        defect = deployable.classes[int(np.argmax(outputs["probabilities"][0]))]
    heat = outputs["map"][0].astype(np.float32, copy=False) if "map" in outputs else None
    return Judgement(score, reject, defect, heat)


def _check_output(tensor: Tensor, values: Array) -> None:
    fits = len(values.shape) == len(tensor.shape) and all(
        length == found or (length == -1 and found == 1) for length, found in zip(tensor.shape, values.shape, strict=True)
    )
    if values.dtype != NUMPY_TYPES[tensor.datatype] or not fits:
        raise WorkFailed(
            f"The model's output {tensor.name!r} is {values.dtype} of shape {list(values.shape)} instead of {tensor.datatype} "
            f"of shape {list(tensor.shape)}. Export it again."
        )
    if tensor.name == "score" and not np.isfinite(values).all():
        raise WorkFailed("The model's score of an image is no finite number. Train it again.")


_sharing = threading.Lock()
_shared = False


def _share_memory() -> None:
    """Have all sessions compute in one bounded pool of memory that grows by what is asked, and not in one each."""
    global _shared
    with _sharing:
        if _shared:
            return
        pool = onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY_BYTES, "arena_extend_strategy": 1})
        place = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        onnxruntime.create_and_register_allocator(place, pool)
        _shared = True


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500].rstrip(".") if str(error).strip() else type(error).__name__
