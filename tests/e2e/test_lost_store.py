"""A run whose objects somebody deleted begins anew under the same id, edges and all."""

import shutil

import pytest

from tests.digits import digits_task
from tests.e2e.laptop import Laptop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_a_run_whose_store_was_deleted_begins_anew_and_changes_no_byte(laptop: Laptop) -> None:
    laptop.task = digits_task(rounds=1)
    first = laptop.run_task("--compact").end().summary
    shutil.rmtree(laptop.home.folder / "store")
    again = laptop.run_task("--compact").end().summary
    assert again["model"] == first["model"]
    assert again["accuracy"] == first["accuracy"]
