"""What travels on NATS: `subjects`, `headers`, `messages`, `codec`."""
