"""What the experiments' files (chaos/experiments) call: actions, probes, controls."""
