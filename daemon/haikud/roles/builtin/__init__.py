"""The roles that come with haikud, one Markdown file each."""
