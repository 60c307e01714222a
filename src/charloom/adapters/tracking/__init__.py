"""The runs in MLflow."""
