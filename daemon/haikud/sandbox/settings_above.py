"""Settings of tools in the checkout that a worktree lies in, which mode landlock has to open for reading.

Many tools look for their settings upwards from where they are: pytest, ruff, cargo, eslint. In a root of its own a
command finds nothing above its worktree, and goes on. Landlock hides no names: it sees the checkout's file there, may
not open it, and fails (pytest with a traceback, before the first test). What is opened are files that are settings by
their name, in the folders between the worktree and the top of its checkout; none that is known for holding passwords
(.npmrc, .env), no links, nothing above the checkout.
"""

from __future__ import annotations

from pathlib import Path

_NAMES = (
    *("pyproject.toml", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "setup.py"),
    *("conftest.py", "ruff.toml", ".ruff.toml", "mypy.ini", ".mypy.ini", ".flake8", ".pylintrc", ".coveragerc"),
    *("package.json", "tsconfig.json", "jsconfig.json", "pnpm-workspace.yaml", "lerna.json", "nx.json", "turbo.json"),
    *("eslint.config.js", "eslint.config.mjs", "eslint.config.cjs", "eslint.config.ts", ".eslintignore"),
    *(".eslintrc", ".eslintrc.js", ".eslintrc.cjs", ".eslintrc.json", ".eslintrc.yml", ".eslintrc.yaml"),
    *(".prettierrc", ".prettierrc.js", ".prettierrc.cjs", ".prettierrc.mjs", ".prettierrc.json", ".prettierrc.yml"),
    *(".prettierrc.yaml", ".prettierrc.toml", "prettier.config.js", "prettier.config.mjs", ".prettierignore"),
    *(".babelrc", "babel.config.js", "babel.config.json", ".browserslistrc", "biome.json", "deno.json", "deno.jsonc"),
    *("Cargo.toml", ".cargo/config.toml", "rust-toolchain", "rust-toolchain.toml", "rustfmt.toml", "clippy.toml"),
    *("go.mod", "go.work", "build.gradle", "settings.gradle", "settings.gradle.kts", "pom.xml", "Gemfile", "Rakefile"),
    *(".rubocop.yml", "composer.json", ".clang-format", ".clang-tidy", ".editorconfig", ".gitignore", ".ignore"),
    *(".python-version", ".node-version", ".nvmrc", ".ruby-version", ".tool-versions", "mise.toml", ".mise.toml"),
)


def settings_above(worktree: Path) -> list[Path]:
    """The files that are there, where the worktree lies in a checkout; none where it lies elsewhere."""
    found: list[Path] = []
    for folder in worktree.parents:
        files = (folder / name for name in _NAMES)
        found += [file for file in files if file.is_file() and not file.is_symlink() and not file.parent.is_symlink()]
        if (folder / ".git").exists():
            return found
    return []
