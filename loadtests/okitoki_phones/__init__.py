"""Simulated telephones: a carrier's trunk and agents' SIP phones, with audio that is checked packet by packet.

Written here because no maintained Python library does this job: pjsua2 needs a compiled PJSIP that no package registry
carries and hides packet timing, aiosip and its forks are abandoned and have neither retransmission timers nor route
sets, and SIPp streams audio without measuring any. RFC 3261 over UDP and G.711 are small enough to be written exactly.
"""
