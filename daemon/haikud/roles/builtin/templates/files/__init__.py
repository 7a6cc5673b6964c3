"""The file templates that come with haikud, one YAML file each."""
