"""The image that pipeline steps run in on a cluster."""

CLOUD_IMAGE = "cloudedge/cloud:0.1.0"
