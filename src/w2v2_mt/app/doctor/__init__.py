"""What this machine has and lacks, for which commands, and the command that closes each gap."""
