"""What haikud says to people and requesters: answers, error reports, open questions; built, then published."""
