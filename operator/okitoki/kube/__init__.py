"""What the operator says to the Kubernetes API: thin client, server-side apply, names, labels, lease, certificates."""
