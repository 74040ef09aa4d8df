"""What the toolkit costs on this machine: times, arithmetic and memory, beside what the machine could do at best."""
