"""The training child: the only part that needs torch. `python -m retrain.worker RUN_DIR`."""
