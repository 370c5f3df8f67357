"""What all hosts of a run do after the same step: stop on a signal, or save."""

from __future__ import annotations

from typing import NamedTuple

from rezoo.models.devices import Devices
from rezoo.training.step import Outcome


class Wishes(NamedTuple):
    """What a host wishes all to do, or what all do.

    Attributes:
        signal: Number of the signal to stop on; 0 for none.
        save: 1 to save the run, else 0.
    """

    signal: int = 0
    save: int = 0


class Agreement:
    """The wishes of all hosts, which pass through the training step with its figures.

    A host learns of them one step late, when it starts the next step, so none waits for another.
    A host that is alone does at once what it wishes.
    """

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._mine = Wishes()
        self._before: Outcome | None = None

    def pass_on(self, wishes: Wishes) -> Wishes:
        """Return the wishes for the next step: all that is not on its way."""
        if self._devices.hosts == 1:
            return Wishes()
        save = wishes.save and self._devices.is_first and not self._mine.save
        self._mine = Wishes(wishes.signal, int(save))
        return self._mine

    def after(self, outcome: Outcome, wishes: Wishes) -> Wishes:
        """Return what all hosts do after a step.

        Args:
            outcome: Of the step.
            wishes: Of this host, now.
        """
        if self._devices.hosts == 1:
            return wishes
        before, self._before = self._before, outcome
        return Wishes(*map(round, before.wishes())) if before else Wishes()
