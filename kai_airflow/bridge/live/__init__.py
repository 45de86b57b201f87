"""Long-lived processes, kept as their KRTs say."""
