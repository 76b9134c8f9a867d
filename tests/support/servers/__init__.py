"""Real servers for the tests of channels, each on loopback, in a folder of its own."""
