"""A detector: a light process at one station of a production line, which judges every part that passes.

    tick ──> source ──> shot ──> judged by the brand's model ──> verdict ──> results (a file, MQTT)
                                                          └────> image ──> spool (this disk, until the edge server has it)

What no thread here may do is hold up the inspection: results and images go by bounded queues, and what finds one full is
counted and let go. A model is loaded beside the one that judges (`cloudedge.serving.models`), and swapped between two images.
Nothing of this loads torch, the runner or what a runner works with.
"""
