"""Kubernetes, as the bridge works with it: a client, what is there, and who acts."""
