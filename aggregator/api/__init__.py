"""The API of a fleet over HTTP: a process of its own, which reads the store and acts by rows that the service sees."""
