"""Removes what finished orders leave on the disk, so that an edge that works for years does not fill up."""

import contextlib
import shutil
from collections.abc import Collection
from pathlib import Path

from cloudedge.files import TEMPORARY
from edge.folders import Folders
from edge.runner.ledger import Ledger


def tidy(folders: Folders, ledger: Ledger, busy: Collection[str], keep_models: int) -> None:
    """Remove checkpoints of finished orders, and the files of all but the newest models.

    Args:
        folders: The state directory.
        ledger: Its ledger, where each model's figures stay.
        busy: Ids of orders that still need their files.
        keep_models: Number of trained models whose files stay, with what they were trained from.
    """
    finished = [model.order_id for model in ledger.models(with_file=True) if model.order_id not in busy]
    surplus = max(0, len(finished) - keep_models)
    for order_id in finished[:surplus]:
        ledger.forget_model_file(order_id)
    kept = {*busy, *finished[surplus:]}
    for path in [*_entries(folders.all_received), *_entries(folders.all_trained)]:
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for path in _entries(folders.all_checkpoints):
        being_written = bool(busy) and path.name.startswith(TEMPORARY)
        if not being_written and path.name.removesuffix(".safetensors") not in busy:
            with contextlib.suppress(OSError):
                path.unlink()


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
