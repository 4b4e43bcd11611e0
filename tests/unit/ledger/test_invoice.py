"""Invoices come out to the cent as in the vendors' own worked examples."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from cloudoffload.ledger.invoice import Rate, Tier, bill
from cloudoffload.ledger.pricing import billed_seconds, quantities
from cloudoffload.providers import rates
from cloudoffload.types import Price, Resources

AWS = rates.invoice_rates("aws")
GCP = rates.invoice_rates("gcp", "us-central1")
CLOUDFLARE = rates.invoice_rates("cloudflare")

# (where the vendor prints it, {rate: quantity}, {rate: dollars of its lines}, total)
EXAMPLES = {
    "Lambda: 3M x 120 ms x 1536 MB": (
        {"lambda.gb_second_x86_64": "540000", "lambda.request": "3000000"},
        {"lambda.gb_second_x86_64": "2.33", "lambda.request": "0.40"},
        "2.73",
    ),
    "S3 FAQ: requests": (
        {"s3.put": "310000", "s3.get": "620000", "s3.delete": "5000"},
        {"s3.put": "1.55", "s3.get": "0.25", "s3.delete": "0.00"},
        "1.80",
    ),
    "S3 FAQ: storage over two tiers": ({"s3.gb_month": "52900"}, {"s3.gb_month": "1215.00"}, "1215.00"),
    "Workers 1: 15M requests x 7 ms": (
        {"workers.subscription": "1", "workers.request": "15000000", "workers.cpu_ms": "105000000"},
        {"workers.subscription": "5.00", "workers.request": "1.50", "workers.cpu_ms": "1.50"},
        "8.00",
    ),
    "Workers 3: 720 requests x 3 min": (
        {"workers.subscription": "1", "workers.request": "720", "workers.cpu_ms": "129600000"},
        {"workers.subscription": "5.00", "workers.request": "0.00", "workers.cpu_ms": "1.99"},
        "6.99",
    ),
    "Workers 4: 100M requests x 7 ms": (
        {"workers.subscription": "1", "workers.request": "100000000", "workers.cpu_ms": "700000000"},
        {"workers.subscription": "5.00", "workers.request": "27.00", "workers.cpu_ms": "13.40"},
        "45.40",
    ),
    "Durable Objects 1": (
        {"workers.subscription": "1", "durable-objects.request": "1500000", "durable-objects.gb_second": "128000"},
        {"durable-objects.request": "0.15", "durable-objects.gb_second": "0.00"},
        "5.15",
    ),
    "Durable Objects 2": (
        {"workers.subscription": "1", "durable-objects.request": "3750000", "durable-objects.gb_second": "11059200"},
        {"durable-objects.request": "0.45", "durable-objects.gb_second": "137.50"},
        "142.95",
    ),
    "Durable Objects 3": (
        {"workers.subscription": "1", "durable-objects.request": "12960100", "durable-objects.gb_second": "33177600"},
        {"durable-objects.request": "1.80", "durable-objects.gb_second": "412.50"},
        "419.30",
    ),
    "Durable Objects 4": (
        {"workers.subscription": "1", "durable-objects.request": "21610000", "durable-objects.gb_second": "552960"},
        {"durable-objects.request": "3.15", "durable-objects.gb_second": "12.50"},
        "20.65",
    ),
    "R2: 1,000 objects of 1 GB": (
        {"r2.gb_month": "1000", "r2.class_a": "1000", "r2.class_b": "1000000"},
        {"r2.gb_month": "14.85", "r2.class_a": "0.00", "r2.class_b": "0.00"},
        "14.85",
    ),
    "R2: infrequent access": (
        {
            "r2-infrequent.gb_month": "1000",
            "r2-infrequent.class_a": "1000",
            "r2-infrequent.class_b": "1000000",
            "r2-infrequent.retrieval_gb": "1000",
        },
        {"r2-infrequent.gb_month": "10.00", "r2-infrequent.class_a": "9.00", "r2-infrequent.class_b": "0.90"},
        "29.90",
    ),
    "R2: asset hosting": (
        {"r2.gb_month": "10", "r2.class_a": "100000", "r2.class_b": "300000000"},
        {"r2.gb_month": "0.00", "r2.class_a": "0.00", "r2.class_b": "104.40"},
        "104.40",
    ),
    "Cloud Run: 10M x 200 ms x 1 vCPU x 0.5 GiB": (
        {"cloud-run.vcpu_second": "2000000", "cloud-run.gib_second": "1000000", "cloud-run.request": "10000000"},
        {"cloud-run.vcpu_second": "43.68", "cloud-run.gib_second": "1.60", "cloud-run.request": "3.20"},
        "48.48",
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_vendor_example(example: str) -> None:
    """Every line and the total of a vendor's published example come out to the cent."""
    usage, expected_lines, expected_total = EXAMPLES[example]
    known = {**AWS, **GCP, **CLOUDFLARE}
    invoice = bill((known[name], Decimal(quantity)) for name, quantity in usage.items())
    by_rate: dict[str, Decimal] = {}
    for line in invoice.lines:
        name = f"{line.product}.{line.dimension}"
        by_rate[name] = by_rate.get(name, Decimal(0)) + line.usd
    assert {name: str(by_rate[name]) for name in expected_lines} == expected_lines
    assert str(invoice.total) == expected_total


def test_free_units_can_be_left_out() -> None:
    """The same month without its free tier: Cloud Run's 48.48 USD are 54.50 USD before it."""
    usage = [(GCP["cloud-run.vcpu_second"], 2_000_000), (GCP["cloud-run.gib_second"], 1_000_000)]
    usage.append((GCP["cloud-run.request"], 10_000_000))
    assert bill(usage, free_tier=False).total == Decimal("54.50")


def test_egress_falls_into_the_tiers_of_the_s3_faq() -> None:
    """62 TB of egress as Amazon bills it: one line per tier, free units counted within the first tier."""
    egress = AWS["s3.egress_gb"]
    one_gb_free = Rate("s3", "egress_gb", Price(egress.price.rate, Decimal(1), free=Decimal(1)), egress.tiers)
    lines = bill([(one_gb_free, 62 * 1024)]).lines
    assert [str(line.billed) for line in lines] == ["10239", "40960", "12288"]
    assert [str(line.usd) for line in lines] == ["921.51", "3481.60", "860.16"]
    assert len(bill([(one_gb_free, 10 * 1024)]).lines) == 1


def test_egress_within_100_gb_is_free() -> None:
    """AWS gives 100 GB of egress a month: the line is there and costs nothing, the next GB costs 9 cents."""
    assert [line.usd for line in bill([(AWS["s3.egress_gb"], 100)]).lines] == [Decimal("0.00")]
    assert bill([(AWS["s3.egress_gb"], 101)]).total == Decimal("0.09")


def test_free_units_reach_beyond_the_first_tier() -> None:
    """An allowance larger than a tier goes on in the next one."""
    rate = Rate("p", "d", Price(Decimal(1), Decimal(1), free=Decimal(15)), (Tier(Decimal(10), Decimal(2)),))
    assert [(line.free, line.usd) for line in bill([(rate, 20)]).lines] == [
        (Decimal(10), Decimal(0)),
        (Decimal(5), Decimal(10)),
    ]


def test_both_architectures_share_one_allowance() -> None:
    """Lambda's 400,000 free GB-seconds are for x86 and Arm together, whichever comes first."""
    usage = [(AWS["lambda.gb_second_x86_64"], 300_000), (AWS["lambda.gb_second_arm64"], 300_000)]
    assert [line.free for line in bill(usage).lines] == [300_000, 100_000]


def test_one_unit_beyond_the_free_ones_is_a_whole_package_where_the_vendor_says_so() -> None:
    """R2: one operation beyond the first million is billed as a million more; Workers bill it as one."""
    assert bill([(CLOUDFLARE["r2.class_a"], 1_000_001)]).total == Decimal("4.50")
    assert bill([(CLOUDFLARE["r2.gb_month"], Decimal("11.1"))]).total == Decimal("0.03")
    assert bill([(CLOUDFLARE["workers.request"], 10_000_001)]).total == Decimal("0.00")


def test_uses_of_one_rate_are_added_before_rounding() -> None:
    """Ten functions that cost 0.4 cents each make one line of 4 cents, not ten lines of nothing."""
    invoice = bill([(AWS["lambda.request"], 20_000)] * 10, free_tier=False)
    assert [line.usd for line in invoice.lines] == [Decimal("0.04")]


def test_lines_are_rounded_before_they_are_added() -> None:
    """Two lines of half a cent are a cent each: 0.02 USD, although 0.01 USD was used."""
    half_a_cent = Price(Decimal("0.005"), Decimal(1))
    invoice = bill([(Rate("p", "one", half_a_cent), 1), (Rate("p", "two", half_a_cent), 1)])
    assert invoice.total == Decimal("0.02")


def test_what_the_ledger_measures_is_what_the_invoice_bills() -> None:
    """From an invocation to the invoice: 3M x 120 ms x 1536 MB, measured as Resources, is Lambda's 2.73 USD."""
    card = rates.load("aws")
    used = quantities(card, Resources(seconds=360_000.0, memory_mb=1536, requests=3_000_000))
    usage = [(AWS["lambda.gb_second_x86_64"], used["gb_second"]), (AWS["lambda.request"], used["request"])]
    assert bill(usage).total == Decimal("2.73")


def test_cloud_run_bills_steps_of_100_ms() -> None:
    """Ten million requests of 101 ms are two million seconds."""
    assert billed_seconds(1_010_000.0, 0.1, 10_000_000) == 2_000_000


def test_callers_decimal_context_does_not_change_an_invoice() -> None:
    """A notebook that works with three digits gets the same invoice."""
    usage = [(AWS["lambda.gb_second_x86_64"], Decimal("1234567.891")), (AWS["s3.egress_gb"], Decimal("98765.4321"))]
    with localcontext(prec=3):
        narrow = bill(usage)
    assert narrow == bill(usage)
