"""From raw samples in a user's format to what a model is trained on.

Reading, writing and packing records needs numpy alone, so that a runner that merely collects stays small; torch is imported
only where tensors are made (`to_samples`, `load_samples`).
"""

from cloudedge.data.packing import pack, unpack
from cloudedge.data.records import Record
from cloudedge.data.samples import Samples, count_samples, histogram, holds_out, is_held_out, load_samples, split, to_samples
from cloudedge.data.storages import files_at, loose_files, read_file, read_records, sample_files, write_records

__all__ = [
    "Record",
    "Samples",
    "count_samples",
    "files_at",
    "histogram",
    "holds_out",
    "is_held_out",
    "load_samples",
    "loose_files",
    "pack",
    "read_file",
    "read_records",
    "sample_files",
    "split",
    "to_samples",
    "unpack",
    "write_records",
]
