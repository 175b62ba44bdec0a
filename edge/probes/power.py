"""Power: read off the processor's own meter where there is one, else computed from what the device's description says.

https://docs.kernel.org/power/powercap/powercap.html. Most systems let only root read it. Without meter and description there is
no figure: one that is assumed is taken for measured, as users of codecarbon found
(https://github.com/mlco2/codecarbon/issues/244, https://github.com/mlco2/codecarbon/issues/493).
"""

import re
import time
from pathlib import Path

from cloudedge.documents.automl import DeviceDescription, Origin
from edge.probes.files import ROOT, number, text

_PACKAGE = re.compile(r"[a-z-]+:\d+")
"""Name of a zone that lies in no other."""


class EnergyMeter:
    """Energy since this was made."""

    def __init__(self, root: Path = ROOT) -> None:
        """Begin."""
        self._zones = _zones(root)
        self._began = time.monotonic()
        self._last = [number(zone / "energy_uj") for zone in self._zones]
        self._microjoules: int | None = 0

    def watts(self) -> float | None:
        """Average power, in watts; none: there is no meter, or it is not for this user. Some time must have passed."""
        self.read()
        seconds = time.monotonic() - self._began
        return self._microjoules / 1e6 / seconds if self._zones and self._microjoules is not None and seconds > 0 else None

    def read(self) -> None:
        """Note how far the meter is. It may begin at 0 again within minutes, so this is called now and then in a long time."""
        for place, zone in enumerate(self._zones):
            before, now = self._last[place], number(zone / "energy_uj")
            if before is None or now is None or self._microjoules is None:
                self._microjoules = None
                return
            around = 0 if now >= before else number(zone / "max_energy_range_uj") or 0
            self._microjoules += now - before + around
            self._last[place] = now


def knows_power(description: DeviceDescription | None) -> bool:
    """Whether anything tells what this device takes: a meter, or its description."""
    return EnergyMeter().watts() is not None or (description is not None and description.busy_watts is not None)


def device_watts(meter: EnergyMeter, description: DeviceDescription | None, busy: float) -> tuple[float, Origin]:
    """Average power of the device since the meter began, and where that comes from; 0 where it is not known.

    Args:
        meter: Read at the end of the time.
        description: What cannot be measured.
        busy: Share of the processor that was used.
    """
    measured = meter.watts()
    return (measured, "measured") if measured is not None else _estimated_watts(description, busy)


def inference_watts(
    meter: EnergyMeter, description: DeviceDescription | None, cores: float, threads: int
) -> tuple[float | None, Origin]:
    """Power of the device while it infers, and where that comes from; none where it is not known.

    Args:
        meter: Read at the end of a time of nothing but inferences.
        description: What cannot be measured.
        cores: That may be used.
        threads: That an inference computes with.
    """
    measured = meter.watts()
    return (measured, "measured") if measured is not None else estimated_inference_watts(description, cores, threads)


def estimated_inference_watts(description: DeviceDescription | None, cores: float, threads: int) -> tuple[float | None, Origin]:
    """The same by the description alone, where nothing was measured."""
    watts, origin = _estimated_watts(description, threads / cores)
    return (None if origin == "absent" else watts), origin


def _estimated_watts(description: DeviceDescription | None, busy: float) -> tuple[float, Origin]:
    if description is None or description.busy_watts is None:
        return 0.0, "absent"
    idle = description.idle_watts or 0.0
    return idle + (description.busy_watts - idle) * min(1.0, max(0.0, busy)), "estimated"


def _zones(root: Path) -> list[Path]:
    """Zones of whole processors. What is within them counts in them; `psys` counts them, and `mmio` is one of them again."""
    try:
        folders = sorted((root / "sys/class/powercap").iterdir())
    except OSError:
        return []
    found = [folder for folder in folders if _PACKAGE.fullmatch(folder.name) and "mmio" not in folder.name]
    return [folder for folder in found if not (text(folder / "name") or "").startswith("psys")]
