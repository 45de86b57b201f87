"""Messages become runs, and replies go back."""
