"""What a candidate costs on a device that was calibrated, told in less than a millisecond and without training.

Latency and memory are regressions over layers (`cloudedge.automl.regression`). The bound of the latency is conformal: how far
networks that were measured beside a busy neighbour were above what would have been predicted of them had they not been measured
(Barber et al., "Predictive inference with the jackknife+", Annals of Statistics 2021, in its plain form), among those that take
about as long (Lei and Wasserman, "Distribution-free prediction bands for non-parametric regression", JRSS B 2014).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cloudedge.automl import costs
from cloudedge.automl.layers import Convolution, Layers, layers_of
from cloudedge.automl.regression import Array, Hyperparameters, Regression, Whole
from cloudedge.automl.space import spec
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Calibration, Candidate, Costs, Measurement, Processor, Smoothness
from cloudedge.errors import InvalidInput

LEAST_MEASUREMENTS = 10
"""With fewer, nothing is predicted: Lee et al., "HELP", NeurIPS 2021, need as many."""

COVERAGE = 0.9
"""Share of networks of whose inferences beside a busy neighbour 95% keep the bound."""

_ALIKE = 39
"""Networks that take about as long as the one that is asked about, by which its bound is told. Where another process gets the
processor after some milliseconds, hardly any short inference is interrupted, and each long one is."""

_CLOCK_TOLERANCE = 0.03
_CORES_TOLERANCE = 0.05


class CalibratedPredictor:
    """Knows what candidates cost on one device, for samples of one form."""

    def __init__(self, calibration: Calibration) -> None:
        """Fit it to what was measured.

        Raises:
            InvalidInput: that is too little.
        """
        measurements = calibration.measurements
        if len(measurements) < LEAST_MEASUREMENTS:
            raise InvalidInput(
                f"The calibration has {len(measurements)} measurements; {LEAST_MEASUREMENTS} are needed. Calibrate the device "
                "again."
            )
        self.calibration = calibration
        self._data = _samples_of(calibration)
        self._latency = Regression(
            [self._latency_of(each.candidate) for each in measurements],
            np.array([each.latency_ms for each in measurements]),
            _hyperparameters(calibration.latency),
        )
        self._inflation = _Inflation(measurements, self._latency.left_out)
        weighed = [each for each in measurements if each.memory_bytes]
        self._memory = None
        # Fewer tell what the runtime takes beside what the rule counts: no network less than the one that takes most of it.
        self._runtime_bytes = max(
            ((each.memory_bytes or 0) - costs.memory_bytes(self._layers(each.candidate)) for each in weighed), default=0
        )
        if calibration.memory is not None and len(weighed) >= LEAST_MEASUREMENTS:
            self._memory = Regression(
                [self._memory_of(each.candidate) for each in weighed],
                np.array([float(each.memory_bytes or 0) for each in weighed]),
                _hyperparameters(calibration.memory),
            )
        self._known = lru_cache(maxsize=4096)(self._costs)

    def costs(self, candidate: Candidate, data: DataFormat) -> Costs:
        """What a candidate is expected to cost.

        Raises:
            InvalidInput: the device was calibrated for samples of another form.
        """
        if not is_for(self.calibration, data):
            raise InvalidInput(
                f"The device was calibrated for {_form(self.calibration)}, and not for samples of shape "
                f"{list(data.input_shape)}, {data.fields[0].dtype}, and {len(data.classes)} classes. Calibrate it for these: "
                "cloudedge-edge calibrate."
            )
        return self._known(candidate)

    def _costs(self, candidate: Candidate) -> Costs:
        latency = float(self._latency.predict([self._latency_of(candidate)])[0])
        layers = self._layers(candidate)
        memory = costs.memory_bytes(layers) + max(0, self._runtime_bytes)
        if self._memory is not None:
            memory = round(float(self._memory.predict([self._memory_of(candidate)])[0]))
        watts = self.calibration.watts
        return Costs(
            latency_ms=latency,
            latency_bound_ms=max(latency, self._inflation.bound(latency)),
            memory_bytes=memory,
            energy_joules=None if watts is None else watts * latency / 1000,
            origin="estimated",
        )

    def _layers(self, candidate: Candidate) -> Layers:
        return layers_of(spec(candidate), self._data)

    def _latency_of(self, candidate: Candidate) -> Whole:
        return latency_whole(self._layers(candidate))

    def _memory_of(self, candidate: Candidate) -> Whole:
        return memory_whole(self._layers(candidate))


def is_for(calibration: Calibration, data: DataFormat) -> bool:
    """Whether a calibration tells what candidates for these samples cost."""
    field = data.fields[0]
    found = (data.input_shape, field.dtype, bool(field.offset), len(data.classes))
    return found == (calibration.shape, calibration.dtype, calibration.shifted, calibration.classes)


def why_stale(calibration: Calibration, processor: Processor, threads: int) -> str | None:
    """Why a calibration does not hold on this processor; none: it does.

    A predictor that does not know the clock is off where it differs: https://github.com/microsoft/nn-Meter/issues/83.
    """
    then = calibration.processor
    if then.model != processor.model:
        return f"the processor is {processor.model or 'one without a name'}, and was {then.model or 'one without a name'}"
    if threads != calibration.threads:
        return f"an inference is to compute with {threads} threads, and did with {calibration.threads}"
    if abs(processor.cores - then.cores) > _CORES_TOLERANCE * then.cores:
        return f"{processor.cores:g} cores may be used, and it was measured with {then.cores:g}"
    if then.clock_mhz and processor.clock_mhz and abs(processor.clock_mhz / then.clock_mhz - 1) > _CLOCK_TOLERANCE:
        return f"the highest clock is {processor.clock_mhz:.0f} MHz, and was {then.clock_mhz:.0f} MHz"
    return None


def latency_whole(layers: Layers) -> Whole:
    """A candidate as its latency is composed: layers by their multiplications, and by what is read and written."""
    work, kind = [], []
    for each, multiplications in zip(layers.convolutions, costs.multiplications(layers), strict=False):
        places = each.height * each.width
        work.append([1, multiplications, places * each.outputs, places * each.inputs * each.kernel**2])
        kind.append(_kind(each))
    averaged = layers.grid != layers.size
    places = math.prod(layers.size) * layers.features if averaged else 0
    first = layers.convolutions[0]
    other = [1, first.inputs * first.height * first.width, averaged, places, layers.features * layers.classes]
    return Whole(np.array(work, np.float64), np.array(kind), np.array(other, np.float64))


def memory_whole(layers: Layers) -> Whole:
    """A candidate as its memory is composed: by MCUNet's rule, and by what the runtime keeps of each layer."""
    kind = np.array([_kind(each) for each in layers.convolutions])
    other = [1, costs.weights(layers), costs.activations(layers)]
    return Whole(np.ones((len(kind), 1)), kind, np.array(other, np.float64))


class _Inflation:
    """How much longer inferences take beside a busy neighbour than was predicted of them alone."""

    def __init__(self, measurements: Sequence[Measurement], left_out: Array) -> None:
        """Learn it.

        Args:
            measurements: Some of them were made beside a neighbour.
            left_out: What would have been predicted of each from the others, in milliseconds.
        """
        pairs = [(each.busy_ms, alone) for each, alone in zip(measurements, left_out, strict=True) if each.busy_ms]
        if not pairs:
            raise InvalidInput("Nothing was measured beside a busy neighbour. Calibrate the device again.")
        busy, self._alone = (np.array(values) for values in zip(*pairs, strict=True))
        self._longer = busy / self._alone

    def bound(self, latency_ms: float) -> float:
        """Not exceeded by 95% of the inferences of 90% of the networks."""
        alike = np.argsort(np.abs(np.log(self._alone / latency_ms)))[:_ALIKE]
        place = math.ceil((len(alike) + 1) * COVERAGE) - 1
        return latency_ms * float(np.sort(self._longer[alike])[min(place, len(alike) - 1)])


def _form(found: Calibration) -> str:
    return f"samples of shape {list(found.shape)}, {found.dtype}, and {found.classes} classes"


def _kind(layer: Convolution) -> list[float]:
    """What a layer is, in steps of about the size of those between candidates."""
    return [math.log2(layer.inputs), math.log2(layer.outputs), layer.kernel / 2, math.log2(layer.height * layer.width) / 2]


def _samples_of(calibration: Calibration) -> DataFormat:
    """Samples of the form that was calibrated for."""
    field = {"name": "sample", "shape": calibration.shape, "dtype": calibration.dtype, "offset": float(calibration.shifted)}
    classes = [str(number) for number in range(calibration.classes)]
    return DataFormat.model_validate({"storage": "npz", "fields": [field], "classes": classes})


def _hyperparameters(found: Smoothness) -> Hyperparameters:
    return Hyperparameters(found.amplitude, found.noise, found.scales)
