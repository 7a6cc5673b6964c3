"""The task templates that come with haikud, one YAML file each."""
