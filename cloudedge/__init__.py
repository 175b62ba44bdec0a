"""What cloud and edge share: documents, errors, models, data formats, training, weights, storage, transport.

Nothing here imports kfp, kubernetes or mlflow, nor the rooms `components`, `pipelines` and `edge`. Importing this package
alone loads nothing else, so that an idle runner stays small.
"""

__version__ = "0.2.0"
