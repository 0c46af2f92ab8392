"""The call-centre application of one tenant."""
