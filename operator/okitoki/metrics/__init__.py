"""What the operator tells Prometheus. `process`: about itself, in controller-runtime's names; `domain`: about the
platform. docs/observability.md lists them."""
