"""Latency, throughput and memory of networks and exported files on this machine.

`targets` checks the request, `benchmark` runs the rounds with one `worker` process per target,
`workloads` builds what a worker times, and `results` summarizes the figures.
"""
