"""What the fork server of pipeline tasks imports before the first task comes."""

# ruff: noqa: F401

import gc

import kfp.dsl.executor_main

import cloudedge.data
import cloudedge.models
import cloudedge.training
import cloudedge.weights
import components.collaborate.door
import components.dispatch.step
import components.evaluate.door
import components.fuse.door
import components.pretrain.door
import components.register.step
import components.report.door
import components.wait.door

gc.collect()
gc.freeze()  # Tasks share these objects' memory as long as no collection touches it.
