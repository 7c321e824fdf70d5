"""Makes a failing schedule small: fewer steps, nodes and odds, and the same law broken."""

import msgspec

from tests.support.simulation.run import play

PLAYS_MAX = 400


class Shrinker:
    """Cuts a schedule down for as long as it breaks the same law.

    Args:
        law: the law that must stay broken.
        progress: called with each smaller schedule that was found.
    """

    def __init__(self, law, progress=lambda _plan: None):
        self.law = law
        self.plays = 0
        self._progress = progress

    def breaks(self, plan):
        """Whether a schedule still breaks the law, as long as there are plays left."""
        if self.plays >= PLAYS_MAX:
            return False
        self.plays += 1
        return play(plan).law == self.law

    def shrink(self, plan):
        """The smallest schedule that was found."""
        before = None
        while plan != before and self.plays < PLAYS_MAX:
            before = plan
            for smaller in (self._fewer_steps, self._fewer_nodes, self._calmer):
                plan = smaller(plan)
                self._progress(plan)
        return plan

    def _fewer_steps(self, plan):
        """Delta debugging (Zeller and Hildebrandt 2002): take out halves, quarters, single ones."""
        size = max(len(plan.steps) // 2, 1)
        while size:
            start = 0
            while start < len(plan.steps):
                steps = plan.steps[:start] + plan.steps[start + size :]
                candidate = msgspec.structs.replace(plan, steps=steps)
                if self.breaks(candidate):
                    plan = candidate
                else:
                    start += size
            size //= 2
        return plan

    def _fewer_nodes(self, plan):
        """Take the last node away where no step needs it."""
        while plan.nodes > 2:
            last = plan.nodes - 1
            candidate = msgspec.structs.replace(
                plan,
                nodes=last,
                hostile=tuple(n for n in plan.hostile if n != last),
                admins=tuple(n for n in plan.admins if n != last),
                observers=tuple(n for n in plan.observers if n != last),
                newcomers=tuple(n for n in plan.newcomers if n != last),
                steps=tuple(step for step in plan.steps if step.node != last),
            )
            if not self.breaks(candidate):
                break
            plan = candidate
        return plan

    def _calmer(self, plan):
        last = max((step.at for step in plan.steps), default=0)
        for changes in (
            {"loss": 0},
            {"duplicates": 0},
            {"delay_ms": 1},
            {"admins": ()},
            {"observers": ()},
            {"newcomers": ()},
            {"seconds": last // 1000 + 1},
        ):
            candidate = msgspec.structs.replace(plan, **changes)
            if candidate != plan and self.breaks(candidate):
                plan = candidate
        return plan
