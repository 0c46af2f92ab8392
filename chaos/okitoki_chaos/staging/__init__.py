"""Drills from inside a cluster that is not kind: the release charts/okitoki-drills runs them by a CronJob."""
