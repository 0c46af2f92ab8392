"""The call-centre app of one tenant: HTTPS API in front of its PostgreSQL cluster."""
