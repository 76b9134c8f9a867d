"""The erasure of people, everywhere: jobs, carried out beside the path of a running node."""
