"""The HTTP API (docs/interfaces.md): one module per caller and subject, shapes in `models`, errors in `errors`."""
