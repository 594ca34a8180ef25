"""The kubelets' own path, which is never part of the daily run."""
