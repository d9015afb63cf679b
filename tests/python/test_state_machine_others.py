"""The other containers against their built-in models under random programs, with reopening and with kills."""

import machines
import pytest
from hypothesis.stateful import run_state_machine_as_test

KINDS = ["set", "deque", "short deque", "counter", "default dict", "sorted dict", "sorted set", "priority queue", "multi-dict", "array"]

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


@pytest.mark.parametrize("kind", KINDS)
def test_container_that_is_closed_and_opened_again(kind):
    run_state_machine_as_test(machines.machine(machines.LocalMachine, kind), settings=machines.profile(30))


@pytest.mark.parametrize("kind", KINDS)
def test_container_whose_process_is_killed(kind, zygote):
    killed = machines.machine(machines.KilledMachine, kind, zygote=zygote)
    run_state_machine_as_test(killed, settings=machines.profile(15))
