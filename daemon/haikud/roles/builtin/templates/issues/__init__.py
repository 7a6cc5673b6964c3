"""The issue templates that come with haikud, one Markdown file each."""
