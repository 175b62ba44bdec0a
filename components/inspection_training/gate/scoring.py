"""How well a model that will be deployed tells parts that are in order from others, on a test set."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cloudedge.documents.deployable import ImageForm
from cloudedge.documents.inspection import NORMAL
from cloudedge.errors import InvalidModel, InvalidSamples
from cloudedge.places import shown_path
from components.inspection_training.gate.images import LabelledImage
from components.inspection_training.records import JudgedImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cloudedge.deployable.session import Session

_MOST_PIXELS = 4_000_000
"""Places that the pixels' ROC curve is made of; of more, each n-th is taken."""

_MOST_PICTURES = 12


class Figures(NamedTuple):
    """What was measured."""

    judged: tuple[JudgedImage, ...]
    auroc: float
    pixel_auroc: float | None
    accuracy: float
    recall: dict[str, float]
    named: dict[str, float]
    seconds_per_image: float
    pictures: dict[str, bytes]
    """PNG by the image's name: the image, beside it its heat map."""


def score(session: "Session", images: Sequence[LabelledImage], say: Callable[[int], object]) -> Figures:
    """Judge all images of a test set.

    Args:
        session: The model.
        images: The test set, with normal images and others.
        say: Called with the number of images judged so far.

    Raises:
        InvalidSamples: an image or a mask cannot be read.
        InvalidModel: the model judges no images, or gives no score.
        WorkFailed: it fails on an image.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from cloudedge.deployable.session import judge
    from cloudedge.inspection.images import prepared, read

    form = _form(session)
    classes = session.deployable.classes
    judged: list[JudgedImage] = []
    maps: list[NDArray[np.float32]] = []
    masks: list[NDArray[np.bool_]] = []
    shots: dict[str, tuple[NDArray[np.uint8], NDArray[np.float32] | None]] = {}
    masked = any(image.mask for image in images)
    spent = 0.0
    for number, image in enumerate(images):
        pixels = prepared(read(image.path), form)
        began = time.perf_counter()
        found = judge(session, pixels)
        spent += time.perf_counter() - began
        judged.append(
            JudgedImage(
                name=image.name, label=image.label, score=found.score or 0.0, rejected=found.reject, defect=found.defect
            )
        )
        shots[image.name] = (pixels, found.map)
        # Of an unmasked image of a defect nobody knows which places are in order.
        if masked and found.map is not None and (image.mask or image.label == NORMAL):
            maps.append(found.map)
            masks.append(_mask(image, found.map.shape))
        say(number + 1)
    defective = np.array([one.label != NORMAL for one in judged])
    right = np.array([one.rejected for one in judged]) == defective
    labels = sorted({one.label for one in judged})
    of_label = {label: np.array([one.label == label for one in judged]) for label in labels}
    named = {
        label: float(np.mean([one.defect == label for one in judged if one.label == label]))
        for label in labels
        if label in classes and label != NORMAL
    }
    return Figures(
        judged=tuple(judged),
        auroc=float(roc_auc_score(defective, np.array([one.score for one in judged]))),
        pixel_auroc=_pixel_auroc(maps, masks),
        accuracy=float(right.mean()),
        recall={label: float(right[chosen].mean()) for label, chosen in of_label.items()},
        named=named,
        seconds_per_image=spent / len(images),
        pictures=_pictures(judged, shots, session.deployable.threshold),
    )


def _form(session: "Session") -> ImageForm:
    deployable = session.deployable
    if deployable.image is None or "score" not in {tensor.name for tensor in deployable.outputs}:
        raise InvalidModel(f"The model {deployable.name} gives no score of an image, so no gate can judge it.")
    return deployable.image


def _mask(image: LabelledImage, shape: tuple[int, ...]) -> "NDArray[np.bool_]":
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    if image.mask is None:
        return np.zeros(shape, dtype=bool)
    try:
        with Image.open(image.mask) as mask:
            # A place counts as defective as soon as a part of it is.
            whole = np.asarray(mask.convert("L").resize((shape[1], shape[0]), Image.Resampling.BOX))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidSamples(
            f"The mask {shown_path(image.mask)} cannot be read: {error}. Draw it anew, or remove it."
        ) from None
    return whole > 0


def _pixel_auroc(maps: "Sequence[NDArray[np.float32]]", masks: "Sequence[NDArray[np.bool_]]") -> float | None:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    if not maps:
        return None
    step = max(1, sum(one.size for one in maps) // _MOST_PIXELS)
    truth = np.concatenate([mask.ravel()[::step] for mask in masks])
    found = np.concatenate([one.ravel()[::step] for one in maps])
    return float(roc_auc_score(truth, found)) if truth.any() and not truth.all() else None


def _pictures(
    judged: Sequence[JudgedImage],
    shots: "Mapping[str, tuple[NDArray[np.uint8], NDArray[np.float32] | None]]",
    threshold: float | None,
) -> dict[str, bytes]:
    """Those that were judged wrongly, the most surprising first; then the clearest of each label."""
    limit = threshold or 0.0
    wrong = [one for one in judged if one.rejected != (one.label != NORMAL)]
    wrong.sort(key=lambda one: (-abs(one.score - limit), one.name))
    chosen = wrong[: _MOST_PICTURES * 2 // 3]
    for label in sorted({one.label for one in judged}):
        right = [one for one in judged if one.label == label and one not in wrong]
        clearest = max if label != NORMAL else min
        chosen += [clearest(right, key=lambda one: one.score)] if right else []
    return {one.name: _picture(*shots[one.name], limit) for one in chosen[:_MOST_PICTURES]}


def _picture(pixels: "NDArray[np.uint8]", heat: "NDArray[np.float32] | None", threshold: float) -> bytes:
    """The image and, beside it, the same with what is suspicious in red."""
    import numpy as np
    from PIL import Image

    height, width = pixels.shape[:2]
    whole = np.concatenate([pixels, pixels], axis=1).astype(np.float32)
    if heat is not None:
        # Below half of the threshold nothing is red, from twice of it on all is.
        strength = np.clip((heat / max(threshold, 1e-9) - 0.5) / 1.5, 0.0, 1.0)
        image = Image.fromarray(strength.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        share = np.asarray(image)[:, :, None] * 0.75
        gray = pixels.astype(np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2)
        whole[:, width:] = gray * (1 - share) + np.array([220, 40, 20], dtype=np.float32) * share
    content = io.BytesIO()
    Image.fromarray(whole.astype(np.uint8)).save(content, format="PNG", optimize=True)
    return content.getvalue()
