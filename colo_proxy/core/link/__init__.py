"""Neighbours and what the guests claim to be: ARP and neighbour discovery."""
