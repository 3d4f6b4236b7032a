"""Tests of orders.py with the fixture `stepwell`: memory, virtual time, fakes.

cd examples && python -m pytest test_orders.py
"""

import asyncio
from datetime import timedelta

from orders import Approval, ApprovalMissing, CardDeclined, Order, Receipt, approval, charge, checkout, notify, reserve

from stepwell.testing import StepwellTest


async def test_expires(stepwell: StepwellTest) -> None:
    run = await stepwell.run(checkout, Order(id=7), fakes={charge: Receipt("r"), reserve: None, notify: None})
    assert run.error.is_(ApprovalMissing)  # nobody approved within two (virtual) days
    assert run.steps == ["charge", "reserve", "notify", "refund"]


async def test_approved(stepwell: StepwellTest) -> None:
    began = stepwell.now
    run = await stepwell.run(checkout, Order(id=7), messages=[(approval, "1h", Approval(by="ada"))])
    assert run.result == Receipt("r7")
    assert stepwell.now - began == timedelta(hours=25)


async def test_declined(stepwell: StepwellTest) -> None:
    run = await stepwell.run(checkout, Order(id=7), fakes={charge: CardDeclined("no funds")})
    assert run.error.is_(CardDeclined)
    assert run.effects["charge"] == 1  # named in `raises`: not retried


async def test_survives_crashes_anywhere(stepwell: StepwellTest) -> None:
    await stepwell.crash_everywhere(checkout, Order(id=7), messages=[(approval, "1h", Approval(by="ada"))])


def test_a_step_alone() -> None:
    assert asyncio.run(charge.fn(Order(id=1))) == Receipt("r1")  # the function itself, without any workflow
