"""Tasks: what a model is trained to do. ``classification`` is one; each has ``build_model``, ``metrics`` and ``train``.

A task knows models, losses and metrics. Which samples it gets is decided by ``training``, where it runs by the caller.
"""
