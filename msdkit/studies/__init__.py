"""Many runs: studies, sweeps and the work they share."""
