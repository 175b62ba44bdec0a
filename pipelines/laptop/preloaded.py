"""What the fork server of pipeline tasks imports last, before the first task comes: what all of them need."""

# ruff: noqa: F401

import gc

import kfp.dsl.executor_main

import components.begin.entrypoint
import components.dispatch.entrypoint
import components.report.entrypoint
import components.wait.entrypoint

gc.enable()
gc.collect()
gc.freeze()  # Tasks share these objects' memory as long as no collection touches it.
