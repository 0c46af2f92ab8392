from __future__ import annotations

from okitoki_chaos.terminal import lines


def test_the_terminal_shows_figures_goals_and_what_was_not_possible() -> None:
    worst = {"writeGapSeconds": 2.5, "failedWrites": 0, "audioGapMs": None, "droppedCalls": 0, "failedCalls": 1,
             "setUpSeconds": 0.4, "wholeAfterSeconds": 20}  # fmt: skip
    found = {
        "experiments": [
            {"experiment": "primary-pod-kill", "runs": 9, "done": 8, "notPossible": 0, "worst": worst,
             "goals": {"writeGapSeconds": 3.0}, "ownStallSeconds": 0.0},
        ],
        "notPossible": ["no clock"], "slow": [], "claim": "no acknowledged loss observed",
        "verdict": "failed", "failures": ["x"],
    }  # fmt: skip
    text = "\n".join(lines(found))
    for words in ("8 of 9", "2.50 s", "3.0 s", "not possible here: no clock", "VERDICT: FAILED", "  - x"):
        assert words in text
