"""What a run of tests said: counts, suites, failures and coverage, from its output and its report files."""
