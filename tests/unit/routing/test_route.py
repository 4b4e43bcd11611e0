"""A unit goes where it can run, then where it should, and the decision says why."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from cloudoffload.errors import LocalPathError, PlanError, SettingsError
from cloudoffload.providers import rates
from cloudoffload.routing.requirements import check, matches
from cloudoffload.routing.route import Candidate, route
from cloudoffload.types import Requirements

PYTHON = frozenset({"python"})

HERE = Candidate("local", rates.load("local"), PYTHON, memory_mb=8192)
AWS = Candidate("aws:us-east-1", rates.load("aws"), PYTHON, memory_mb=2048, latency=0.1)
ARM = Candidate("aws:arm", rates.load("aws", architecture="arm64"), PYTHON, memory_mb=2048, latency=0.1)
ANYTHING = Requirements()


def with_seconds(candidate: Candidate, seconds: float) -> Candidate:
    """The candidate after such units have run on it."""
    return dataclasses.replace(candidate, seconds=seconds)


def test_unknown_work_goes_to_the_first_cloud() -> None:
    """Clouds come before this machine, in the session's order."""
    decision = route(ANYTHING, "", [HERE, AWS, ARM])
    assert decision.provider == "aws:us-east-1"
    assert "first" in decision.reason


@pytest.mark.parametrize(
    ("prefer", "cost", "chosen"),
    [
        ("cost", None, "aws:arm"),
        ("balanced", "minimize", "aws:arm"),
        ("balanced", None, "aws:us-east-1"),
        ("cost", "ignore", "aws:us-east-1"),
        ("cost", "balanced", "aws:us-east-1"),
    ],
)
def test_cheapest_cloud_when_cost_is_preferred(prefer: str, cost: str | None, chosen: str) -> None:
    """The session's preference for cost, or a unit's own, takes the cheapest cloud; a unit's own wins."""
    decision = route(Requirements(cost=cost), "", [HERE, AWS, ARM], prefer)
    assert decision.provider == chosen
    assert ("cheapest" in decision.reason) == (chosen == "aws:arm")


def test_equal_prices_keep_the_sessions_order() -> None:
    """Among equally cheap clouds the first is taken."""
    twin = dataclasses.replace(AWS, name="aws:twin")
    assert route(ANYTHING, "", [twin, AWS], "cost").provider == "aws:twin"
    assert route(ANYTHING, "", [AWS, twin], "cost").provider == "aws:us-east-1"


def test_tiny_work_stays_here() -> None:
    """A unit known to take less than 50 ms never leaves, wherever that was learned; at 50 ms it does."""
    assert route(ANYTHING, "", [with_seconds(HERE, 0.049), AWS], "cost").provider == "local"
    assert route(ANYTHING, "", [HERE, with_seconds(AWS, 0.002)]).provider == "local"
    assert route(ANYTHING, "", [with_seconds(HERE, 0.05), AWS]).provider == "aws:us-east-1"
    assert "2.0 ms" in route(ANYTHING, "", [HERE, with_seconds(AWS, 0.002)]).reason


def test_time_learned_here_counts_before_a_clouds() -> None:
    """What is slow on this machine is offloaded although a cloud is quick at it."""
    assert route(ANYTHING, "", [with_seconds(HERE, 3.0), with_seconds(AWS, 0.01)]).provider == "aws:us-east-1"


def test_tiny_work_goes_out_when_this_machine_takes_no_part() -> None:
    """Without this machine among the providers even tiny work runs in a cloud."""
    assert route(ANYTHING, "", [with_seconds(AWS, 0.001)]).provider == "aws:us-east-1"


def test_this_machine_takes_what_no_cloud_can() -> None:
    """When hard limits rule every cloud out, the unit runs here, and the quotes say why."""
    decision = route(Requirements(memory_mb=4096), "", [AWS, HERE])
    assert decision.provider == "local"
    assert "no cloud" in decision.reason
    assert decision.quotes[0].refusal == "the unit needs 4096 MB and it offers 2048 MB"


def test_unit_bound_to_this_machine_stays() -> None:
    """A unit that must run here does, whatever clouds there are, and the reason is handed on."""
    decision = route(ANYTHING, "it reads /tmp/a.csv", [AWS, HERE], "cost")
    assert decision.provider == "local"
    assert "it reads /tmp/a.csv" in decision.reason
    assert "it reads /tmp/a.csv" in decision.quotes[0].refusal


def test_unit_bound_to_a_machine_that_takes_no_part_is_an_error() -> None:
    """A local path in a session without "local" raises, names the cause and says what to do."""
    with pytest.raises(LocalPathError) as caught:
        route(ANYTHING, "it reads /tmp/a.csv", [AWS])
    assert "it reads /tmp/a.csv" in str(caught.value)
    assert 'add "local"' in str(caught.value)


@pytest.mark.parametrize(("asked", "chosen"), [("aws", "aws:us-east-1"), ("aws:arm", "aws:arm"), ("local", "local")])
def test_forced_provider_is_taken(asked: str, chosen: str) -> None:
    """A unit that asks for a provider gets it, in any region when it names none, even where work is tiny."""
    decision = route(Requirements(provider=asked), "", [with_seconds(HERE, 0.001), AWS, ARM])
    assert decision.provider == chosen
    assert asked in decision.reason
    assert all(matches(asked, quote.provider) for quote in decision.quotes if not quote.refusal)


def test_forced_cloud_is_the_cheapest_of_its_regions_when_cost_is_preferred() -> None:
    """A cloud asked for by its plain name still follows the preference among its regions."""
    assert route(Requirements(provider="aws"), "", [AWS, ARM], "cost").provider == "aws:arm"


def test_forced_provider_that_is_missing_is_an_error() -> None:
    """Asking for a provider that the session lacks raises and names those it has."""
    with pytest.raises(PlanError) as caught:
        route(Requirements(provider="gcp"), "", [HERE, AWS])
    assert "'gcp'" in str(caught.value)
    assert "local, aws:us-east-1" in str(caught.value)


def test_forced_cloud_and_local_path_contradict() -> None:
    """A unit that must run here and asks for a cloud raises; the message has both reasons."""
    with pytest.raises(PlanError) as caught:
        route(Requirements(provider="aws"), "it writes ./out", [HERE, AWS])
    assert "aws:us-east-1: the unit must run on this machine because it writes ./out" in str(caught.value)
    assert "local: the unit asks for provider 'aws'" in str(caught.value)


@pytest.mark.parametrize(
    ("requirements", "refusal"),
    [
        (Requirements(memory_mb=2049), "needs 2049 MB and it offers 2048 MB"),
        (Requirements(seconds=901), "takes 901 s and a call may run 900 s"),
        (Requirements(gpu=True), "does not run gpu"),
        (Requirements(region="eu-west-1"), "not known to lie in region 'eu-west-1'"),
    ],
)
def test_hard_limits_refuse(requirements: Requirements, refusal: str) -> None:
    """What a provider can't do rules it out, and the error says so for each."""
    with pytest.raises(PlanError, match="aws:us-east-1: .*" + refusal) as caught:
        route(requirements, "", [AWS])
    assert not isinstance(caught.value, LocalPathError)


@pytest.mark.parametrize(
    "requirements",
    [
        Requirements(memory_mb=2048),
        Requirements(seconds=900),
        Requirements(gpu=False),
        Requirements(region="us-east-1"),
    ],
)
def test_limits_may_be_used_to_the_full(requirements: Requirements) -> None:
    """A requirement that is exactly the limit is met."""
    assert route(requirements, "", [AWS]).provider == "aws:us-east-1"


def test_learned_time_beyond_the_limit_refuses() -> None:
    """A unit known to take longer than a call may run is not sent there, though nobody said how long it takes."""
    assert route(ANYTHING, "", [with_seconds(AWS, 1000.0), HERE]).provider == "local"


def test_runtime_that_is_missing_refuses() -> None:
    """A unit for another runtime goes to the provider that has it."""
    edge = dataclasses.replace(ARM, runs=frozenset({"python", "edge"}))
    assert route(ANYTHING, "", [AWS, edge], runtime="edge").provider == "aws:arm"


def test_every_candidate_is_quoted() -> None:
    """A decision has one quote per candidate, in order, with its price and time; scores are not made up."""
    quotes = route(ANYTHING, "", [HERE, with_seconds(AWS, 2.0)]).quotes
    assert [quote.provider for quote in quotes] == ["local", "aws:us-east-1"]
    assert quotes[0].usd == 0
    assert quotes[1].usd == 2 * 2 * Decimal("0.0000166667") + Decimal("0.0000002")
    assert quotes[1].seconds == pytest.approx(2.1)
    assert all(quote.parts == {} for quote in quotes)


def test_session_without_providers_is_an_error() -> None:
    """With no candidate at all the message says so."""
    with pytest.raises(PlanError, match="no providers"):
        route(ANYTHING, "", [])


@pytest.mark.parametrize(
    ("required", "name", "expected"),
    [
        ("aws", "aws", True),
        ("aws", "aws:eu-west-1", True),
        ("aws:eu-west-1", "aws:eu-west-1", True),
        ("aws:eu-west-1", "aws", False),
        ("aws", "awsome", False),
        ("aws:eu", "aws:eu-west-1", False),
    ],
)
def test_provider_names(required: str, name: str, expected: bool) -> None:
    """A cloud's plain name means any of its regions; a name with a region means that one."""
    assert matches(required, name) is expected


@pytest.mark.parametrize(
    ("requirements", "mentions"),
    [
        (Requirements(cost="cheap"), ("cost", "'cheap'", "'minimize', 'balanced', 'ignore'")),
        (Requirements(latency="now"), ("latency", "'now'", "'low', 'medium', 'high'")),
        (Requirements(memory_mb=0), ("memory_mb", "above 0")),
        (Requirements(seconds=-1.0), ("seconds", "above 0")),
        (Requirements(seconds=float("nan")), ("seconds", "above 0")),
        (Requirements(retries=-1), ("retries", "0 or more")),
        (Requirements(provider=""), ("provider", "None")),
    ],
)
def test_bad_requirements_are_refused(requirements: Requirements, mentions: tuple[str, ...]) -> None:
    """A value that no router could understand raises, names the field and says what is allowed."""
    with pytest.raises(SettingsError) as caught:
        check(requirements)
    assert all(mention in str(caught.value) for mention in mentions)
    with pytest.raises(SettingsError):
        route(requirements, "", [HERE, AWS])


def test_good_requirements_pass() -> None:
    """Every documented value is accepted."""
    for cost in ("minimize", "balanced", "ignore", None):
        for latency in ("low", "medium", "high", None):
            check(Requirements("aws", cost, latency, memory_mb=1, seconds=0.1, retries=0))


def test_bad_preference_is_refused() -> None:
    """A session's preference is one of the three documented ones."""
    with pytest.raises(SettingsError, match="'fast'"):
        route(ANYTHING, "", [AWS], "fast")
