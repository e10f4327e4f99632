"""The server that runs in each VM of the lab, with state that can be carried to the other one."""
