"""Webhooks: committed changes told to the endpoints of tenants.

In reading order: `declaration` is what a tenant declares, `directory` who is to be told of an event,
`queueing` puts deliveries in the queue as the relay publishes, `payload` what is told, `rules` what
follows from an answer, `addresses` and `sender` how an endpoint is reached and which never are,
`endpoint` works off one queue and `deliverer` all of them, `admin` and `operations` are the API,
`packages` puts in force what packages declare.
"""
