"""What the fork server of pipeline tasks imports before the first task comes."""

# ruff: noqa: F401

import gc

import kfp.dsl.executor_main

import cloudedge.data
import cloudedge.models
import cloudedge.training
import cloudedge.weights
import components.collaborative_training.collaborate.entrypoint
import components.collaborative_training.fuse.entrypoint
import components.collaborative_training.pretrain.entrypoint
import components.dispatch.step
import components.evaluate.entrypoint
import components.register.step
import components.report.entrypoint
import components.wait.entrypoint

gc.collect()
gc.freeze()  # Tasks share these objects' memory as long as no collection touches it.
