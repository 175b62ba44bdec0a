"""The test set that the cloud holds: images that no line ever saw, by label, with masks where somebody drew them."""

from pathlib import Path
from typing import NamedTuple

from cloudedge.documents.inspection import NORMAL
from cloudedge.errors import InvalidSamples
from cloudedge.places import is_utf8, shown_path, subfolders

MASKS = "masks"
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")


class LabelledImage(NamedTuple):
    """An image of the test set; the mask is white where the part is not in order."""

    path: Path
    name: str
    label: str
    mask: Path | None


def labelled_images(folder: Path, brand: str) -> list[LabelledImage]:
    """The images of a test set, sorted by their names.

    Args:
        folder: Has a folder for each label (normal, or a defect's name) with its images, and masks/<label>/<name>.png for
            those that have a mask; or such a folder for each brand.
        brand: The brand.

    Raises:
        InvalidSamples: there are no normal images or none of defects.
    """
    root = folder / brand if (folder / brand).is_dir() else folder
    shown = shown_path(root)
    if not root.is_dir():
        raise InvalidSamples(f"There is no test set at {shown}: name a folder with one folder for each label.")
    found: list[LabelledImage] = []
    for labelled in subfolders(root):
        if labelled.name == MASKS:
            continue
        if not is_utf8(labelled):
            raise InvalidSamples(f"{shown_path(labelled)} has a name that is not UTF-8. Rename it.")
        for path in sorted(labelled.iterdir()):
            if path.suffix.lower() in _ENDINGS and is_utf8(path) and not path.name.startswith("."):
                mask = root / MASKS / labelled.name / f"{path.stem}.png"
                name = f"{labelled.name}/{path.name}"
                found.append(LabelledImage(path, name, labelled.name, mask if mask.is_file() else None))
    labels = {image.label for image in found}
    for fault, missing in (("of parts that are in order", NORMAL not in labels), ("of defects", not labels - {NORMAL})):
        if missing:
            raise InvalidSamples(
                f"The test set at {shown} has no images {fault}: it needs a folder {NORMAL!r} and one for each defect, with "
                f"files that end in {', '.join(_ENDINGS)}. It has images of: {', '.join(sorted(labels)) or 'none'}."
            )
    return found
