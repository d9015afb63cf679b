"""EMDict against dict under random programs: in this process with reopening, and in one that is killed."""

import machines
import pytest
from hypothesis.stateful import run_state_machine_as_test

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


def test_dict_that_is_closed_and_opened_again():
    run_state_machine_as_test(machines.machine(machines.LocalMachine, "dict"), settings=machines.profile(60))


def test_dict_whose_process_is_killed(zygote):
    killed = machines.machine(machines.KilledMachine, "dict", zygote=zygote)
    run_state_machine_as_test(killed, settings=machines.profile(40))
