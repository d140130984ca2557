"""Objects as Protocol Buffers: one file with messages and a service for each."""
