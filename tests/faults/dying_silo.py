"""The program of a silo that dies, worker and all, once its answer to the training of round 2 is stored.

It is run as `tests.faults.hostile_silo` is.
"""

if __name__ == "__main__":
    from flows.cli import main

    main()
elif __name__ == "__mp_main__":
    import os
    import signal

    from tasks.exchange.store import ArtifactRef
    from tasks.silos import perform_step as silo_work
    from tasks.silos.guarded_exchange import GuardedExchange

    class LastWords(GuardedExchange):
        """An exchange that kills its process group after that answer."""

        def put(self, folder: str, data: bytes) -> ArtifactRef:
            """Store the bytes as any silo does."""
            ref = super().put(folder, data)
            if folder.endswith("/000002-train"):
                os.killpg(0, signal.SIGKILL)
            return ref

    silo_work.GuardedExchange = LastWords  # type: ignore[misc]
