"""What goes on inside a network: measured and put into plain records. Nothing here draws.

`recording` looks at one forward and backward pass, `run` at a whole training run, `batches` at
what batchnorm saw in it, `scalars` at three numbers while it goes on, and `theory` says what
very wide layers would do.
"""

from helpers.diagnostics.batches import (
    BatchRecorder,
    BatchStatistics,
    record_batches,
    running_statistics,
)
from helpers.diagnostics.recording import (
    LINEARS,
    NONLINEARITIES,
    SATURATION,
    LayerRecord,
    LayerStatistics,
    Recording,
    WeightRecord,
    WeightStatistics,
    layer_statistics,
    record,
    weight_statistics,
)
from helpers.diagnostics.run import RunRecord, RunRecorder, record_run
from helpers.diagnostics.scalars import ScalarRecorder, record_scalars
from helpers.diagnostics.theory import MeanField, mean_field

__all__ = [
    "LINEARS",
    "NONLINEARITIES",
    "SATURATION",
    "BatchRecorder",
    "BatchStatistics",
    "LayerRecord",
    "LayerStatistics",
    "MeanField",
    "Recording",
    "RunRecord",
    "RunRecorder",
    "ScalarRecorder",
    "WeightRecord",
    "WeightStatistics",
    "layer_statistics",
    "mean_field",
    "record",
    "record_batches",
    "record_run",
    "record_scalars",
    "running_statistics",
    "weight_statistics",
]
