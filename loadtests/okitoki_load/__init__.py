"""Load whose result can be judged: intents are durable before they are sent, outcomes honest, gaps measured."""
