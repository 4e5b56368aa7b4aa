"""Time and turns: tempo, transport, modes, the engine, the scheduler and the ledger. Pure; knows nothing of models."""
