"""The live program: player process, worker process, recorder, and the commands jam, demo and duet."""
