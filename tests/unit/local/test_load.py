from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from okitoki_local.cli import parser
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.load import LoadTest, arguments

ADDRESSES = Addresses("198.18.0.1", "198.18.0.2", ("198.18.0.3", "198.18.0.4"), "198.18.0.5", ("198.18.0.6",) * 4)
TENANT = TenantPlan("acme", "acme.kyiv.okitoki.test", "+380441234567", "sales", ("1001", "1002"))


def test_every_argument_is_one_that_locust_and_our_options_know() -> None:
    options = importlib.import_module("okitoki_locust.options")

    class Parser(argparse.ArgumentParser):
        def add_argument(self, *names: str, **more: object) -> argparse.Action:  # type: ignore[override]
            more.pop("env_var", None), more.pop("include_in_web_ui", None)
            return super().add_argument(*names, **more)  # type: ignore[arg-type]

    known = Parser(exit_on_error=False)
    for names in (["-f"], ["--host"], ["-u"], ["-t"]):
        known.add_argument(*names)
    known.add_argument("--headless", action="store_true")
    options.add_arguments(known)
    given = known.parse_args(arguments(LoadTest("acme", 2, words=("-u", "4", "-t", "1m")), TENANT, ADDRESSES))
    assert (given.host, given.address) == ("https://acme.kyiv.okitoki.test", "198.18.0.2")
    assert (given.sip, given.trunk, given.agents, given.callers) == ("198.18.0.1", "198.18.0.5", 2, 1)
    assert given.headless


def test_without_agents_there_are_no_phones_and_with_the_page_nothing_starts_by_itself() -> None:
    given = arguments(LoadTest("acme", web=True), TENANT, ADDRESSES)
    assert "--sip" not in given
    assert "--headless" not in given
    assert "locustfile_sip" not in " ".join(given)


def test_the_users_own_arguments_come_last_and_so_win() -> None:
    assert arguments(LoadTest("acme", words=("--rate", "9")), TENANT, ADDRESSES)[-2:] == ["--rate", "9"]


def test_the_command_line_takes_what_make_gives_it() -> None:
    chosen = parser().parse_args(["load-test", "--agents", "2", "acme", "-u", "5", "--shape", "burst"])
    assert (chosen.tenant, chosen.agents, chosen.words) == ("acme", 2, ["-u", "5", "--shape", "burst"])


@pytest.mark.parametrize("name", ["locustfile.py", "locustfile_sip.py"])
def test_the_image_has_the_locustfiles(name: str) -> None:
    root = Path(__file__).resolve().parents[3]
    assert f"loadtests/{name}" in (root / "images/phones/Dockerfile").read_text()
    assert (root / "loadtests" / name).is_file()
