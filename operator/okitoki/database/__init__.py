"""A PostgreSQL cluster under Patroni: builders and the judgement of its state. Pure."""
