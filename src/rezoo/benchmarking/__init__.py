"""What networks cost: counted as rezoo and other tools count, and measured on this machine.

`request` says what is asked, `running` lets one process for each target take turns, `worker` is
such a process, `contenders` builds what it times, `results` is what comes out; `conventions` counts
as other tools do, `zoo_chart` draws accuracy against cost.
"""
