"""The schemas of Prefect's and MLflow's databases, so that a new home needs none of their migrations."""
