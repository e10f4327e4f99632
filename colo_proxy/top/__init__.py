"""The live view of `colo-proxy top`: figures from what the control socket tells, and a screen of them."""
