"""What senders may ask of a node beside storing: one file for each kind of question."""
