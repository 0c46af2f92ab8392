"""Agents and callers, beside the API users.

`locust -f loadtests/locustfile.py,loadtests/locustfile_sip.py … --sip ADDRESS --trunk ADDRESS --agents-file FILE`
"""

from okitoki_locust.sip_user import AgentUser, CallerUser

__all__ = ["AgentUser", "CallerUser"]
