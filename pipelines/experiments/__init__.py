"""cloudedge in Python: for notebooks, and for programs that run experiments. Its names are exported by `pipelines`."""

import warnings

# MLflow's and Optuna's bars, which are not drawn here, would have people install something for them.
warnings.filterwarnings("ignore", message="IProgress not found")
