"""The program of a hostile silo: `python -m tests.faults.hostile_silo` in place of `python -m flows`.

Its worker is the ordinary one. The processes that it forks for the steps run this file again, as
multiprocessing does, and there the exchange is replaced by one that lies.
"""

if __name__ == "__main__":
    from flows.cli import main

    main()
elif __name__ == "__mp_main__":
    from tasks.silos import perform_step as silo_work
    from tests.faults.lies import HostileExchange

    silo_work.GuardedExchange = HostileExchange
