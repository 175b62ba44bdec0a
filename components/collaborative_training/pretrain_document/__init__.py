"""Pretrain what a document asks for: the first step of pipelines whose form is the task as a whole."""
