"""What a hub can answer in place of a model: each is one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pulls import FILE, OTHER, fails, listed


@pytest.mark.slow
def test_a_hub_that_is_busy_is_asked_again(jlocal, faults) -> None:
    faults.answers, faults.headers = [429, 503], {"Retry-After": "0"}
    status, _, err = jlocal("pull", "small:Q4_K_M", "-yq")
    assert (status, err) == (0, "")
    assert faults.answers == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "arguments", "says"),
    {
        "unauthorised": ({"answers": [401] * 9}, ["small"], "set HF_TOKEN if it is private"),
        "forbidden": ({"answers": [403] * 9}, ["small"], "check HF_TOKEN"),
        "gated": (
            {"answers": [403] * 9, "headers": {"X-Error-Code": "GatedRepo"}},
            ["small"],
            "accept its terms",
        ),
        "always busy": (
            {"answers": [429] * 20, "headers": {"Retry-After": "0"}},
            ["small"],
            "too many requests",
        ),
        "a fault": ({"answers": [500] * 20, "headers": {"Retry-After": "0"}}, ["small"], "500"),
        "no repository": ({}, ["somebody/nothing"], "the hub has no model somebody/nothing"),
        "no revision": ({}, ["small", "--revision", "v9"], "no revision 'v9'"),
        "no type": ({}, [f"{OTHER}:Q2_K"], "there are Q5_0, Q6_K, Q8_0"),
        "two of a type": ({}, [f"{OTHER}:Q6_K"], "a-Q6_K, b-Q6_K"),
        "not published": ({}, ["small:Q5_0"], "--convert"),
        "vanished": ({"vanished": True}, ["small"], "no longer has the file"),
        "damaged": ({"damaged": True}, ["small"], "SHA-256"),
        "no GGUF": ({}, [f"{OTHER}:Q5_0"], "versions 2 and 3 are known"),
        "full disk": ({"sizes": {FILE: 1 << 60}}, ["small"], "make room"),
        "other size": ({"sizes": {FILE: 1000}}, ["small"], "run it again"),
        "a revision of one": ({}, [f"{OTHER}", "--revision", "../../main"], "no revision"),
    }.values(),
    ids=str,
)
def test_what_goes_wrong_is_one_line(jlocal, faults, environment, wrong, arguments, says) -> None:
    for name, value in wrong.items():
        setattr(faults, name, value)
    assert says in fails(jlocal("pull", *arguments, "--yes"))
    assert listed(jlocal) == {}
    assert not list((Path(environment["HF_HOME"]) / "hub").rglob("snapshots/*/*"))


@pytest.mark.slow
def test_nobody_answers(jlocal, environment) -> None:
    line = fails(jlocal("pull", "small", "-y", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "check the connection" in line
