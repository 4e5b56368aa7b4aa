"""Time and turns: tempo, transport, modes, the engine, the scheduler and the ledger. Pure, and independent of the models."""
