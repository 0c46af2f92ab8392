"""The platform's resources as pydantic models: the source of `crds/`."""
