"""What running a process costs, measured on a stack of this machine: ``make bench``, docs/benchmarks.md."""
