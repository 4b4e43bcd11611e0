"""Hand-made plans, and a driver that steps a loop by hand: no thread, no clock, no cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from cloudoffload.engine.learned import Learned
from cloudoffload.engine.loop import Loop
from cloudoffload.engine.messages import (
    Action,
    Answered,
    Begun,
    Deliver,
    Draft,
    Event,
    Finish,
    Free,
    Lane,
    Lost,
    Send,
    Stopped,
    Wake,
    Woken,
)
from cloudoffload.engine.window import Window
from cloudoffload.types import (
    Edge,
    Failure,
    FailureKind,
    Outcome,
    Plan,
    Price,
    RateCard,
    Ref,
    Requirements,
    Resources,
    Unit,
)

A = TypeVar("A", bound=Action)
NOTHING = Requirements()


def unit(
    number: int,
    *inputs: int | Edge,
    prefix: str = "inc",
    priority: int | None = None,
    requested: bool = False,
    keeps_inputs: bool = False,
    requirements: Requirements = NOTHING,
) -> Unit:
    """A unit that reads the values of other units."""
    edges = tuple(item if isinstance(item, Edge) else Edge(item) for item in inputs)
    return Unit(
        number=number,
        key=(prefix, number),
        prefix=prefix,
        inputs=edges,
        priority=number if priority is None else priority,
        requested=requested,
        keeps_inputs=keeps_inputs,
        requirements=requirements,
    )


def plan(*units: Unit) -> Plan:
    """A plan of units."""
    return Plan(units, b"", (), tuple(Edge(item.number) for item in units if item.requested))


def lane(
    name: str = "cloud",
    *,
    slots: int = 2,
    batch: int = 8,
    target: float = 1.0,
    rate: str = "0.01",
    most: float = 900.0,
    latency: float = 0.0,
    ahead: int = 0,
) -> Lane:
    """A provider as the loop sees it; a rate of "0" makes it free."""
    card = RateCard(
        provider=name,
        version="",
        source="",
        prices={"gb_second": Price(Decimal(rate), Decimal(1))},
        billing_seconds=0.001,
        request_bytes=1 << 20,
        response_bytes=1 << 20,
        max_seconds=most,
        memory_mb=(128, 10240),
        concurrency=slots,
    )
    return Lane(name, card, frozenset({"python"}), 1024, slots, batch, target, latency, ahead)


def ref(number: int, attempt: int = 1, *, inline: bool = False) -> Ref:
    """What a worker answers for a unit."""
    data = b"x" if inline else None
    return Ref("" if inline else "main", f"{number}-{attempt}", (0, 1), 1, b"", data=data)


def failure(kind: FailureKind = FailureKind.EXCEPTION, message: str = "boom") -> Failure:
    """A unit's failure as its worker tells it."""
    return Failure(kind, "ValueError", message, "Traceback: in f")


class Driven:
    """A loop, and everything that it has asked for."""

    def __init__(
        self,
        plan: Plan,
        *lanes: Lane,
        route: Callable[[Unit], str] | None = None,
        reserve: Callable[[Draft], None] = lambda draft: None,
        learned: dict[str, float] | None = None,
        tries: int = 3,
        isolated: bool = False,
        window: Window | None = None,
    ) -> None:
        chosen = {item.name: item for item in (lanes or (lane(),))}
        first = next(iter(chosen))
        known = Learned()
        for prefix, seconds in (learned or {}).items():
            for name in chosen:
                known.add(prefix, name, [seconds])
                known.saw([item.key for item in plan.units if item.prefix == prefix], name)
        self.learned = known
        self.now = 0.0
        self.actions: list[Action] = []
        self.loop = Loop(
            plan,
            (),
            chosen,
            route=route or (lambda unit: first),
            reserve=reserve,
            learned=known,
            tries=tries,
            first_deadline=60.0,
            isolated=isolated,
            window=window,
        )

    def step(self, event: Event) -> list[Action]:
        """Tell the loop something; returns what it asks for."""
        actions = self.loop.step(event, self.now)
        self.actions += actions
        return actions

    def begin(self) -> list[Action]:
        """The plan's data is stored."""
        return self.step(Begun())

    def answer(self, draft: Draft, *results: Ref | Failure, seconds: float = 0.1) -> list[Action]:
        """A call comes back; by default with a stored value of each unit."""
        values = results or tuple(ref(item.number, item.attempt) for item in draft.units)
        outcome = Outcome(values, (seconds,) * len(values), Resources())
        return self.step(Answered(draft.number, outcome))

    def lose(self, draft: Draft, error: BaseException) -> list[Action]:
        """A call does not come back."""
        return self.step(Lost(draft.number, error))

    def wake(self) -> list[Action]:
        """Let the time pass that the loop asked for."""
        self.now = self.all(Wake)[-1].at
        return self.step(Woken())

    def stop(self, error: BaseException) -> list[Action]:
        """The user wants no more."""
        return self.step(Stopped(error))

    def finish(self) -> list[Action]:
        """Answer every call until the loop is over."""
        before = len(self.actions)
        while self.finished is None:
            if self.loop.in_flight:
                self.answer(self.loop.in_flight[0])
            else:
                self.wake()
        return self.actions[before:]

    def all(self, kind: type[A]) -> list[A]:
        """Actions of one kind, in their order."""
        return of(kind, self.actions)

    @property
    def finished(self) -> Finish | None:
        """How it ended."""
        return next(iter(self.all(Finish)), None)

    @property
    def error(self) -> BaseException:
        """Why it failed."""
        assert self.finished is not None and self.finished.error is not None
        return self.finished.error


def of(kind: type[A], actions: Iterable[Action]) -> list[A]:
    """Actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


def sent(actions: Iterable[Action]) -> list[list[int]]:
    """Numbers of the units in each call that is sent."""
    return [[item.number for item in action.draft.units] for action in of(Send, actions)]


def drafts(actions: Iterable[Action]) -> list[Draft]:
    """The calls that are sent."""
    return [action.draft for action in of(Send, actions)]


def freed(actions: Iterable[Action]) -> list[str]:
    """Keys of the objects that are freed."""
    return [item.key for action in of(Free, actions) for item in action.refs]


def delivered(actions: Iterable[Action]) -> dict[int, object]:
    """What is delivered, by unit."""
    return {action.number: action.result for action in of(Deliver, actions)}


def wanting(requirements: Requirements, *units: Unit) -> tuple[Unit, ...]:
    """The units with one shared wish, as the planner makes them."""
    return tuple(item._replace(requirements=requirements) for item in units)
