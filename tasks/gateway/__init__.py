"""The gateway: the one door through which silos of other organisations get orders and send answers."""
