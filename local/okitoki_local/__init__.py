"""The local cluster, its images and the demo."""
