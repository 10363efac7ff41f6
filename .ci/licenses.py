"""Checks that every dependency has a license that the project's own two allow.

The list of advisories is not on the package registries, so only licenses are checked here;
`cargo deny check advisories` does the other half where its database can be fetched.
"""

import json
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
    # Permissive terms for data: the certificates that come with downloading from the model hub.
    "CDLA-Permissive-2.0",
    # Its terms hold for its own files only, and those are used unchanged.
    "MPL-2.0",
}


def allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met: one alternative whose every term is allowed."""
    expression = expression.replace("/", " OR ").replace("(", "").replace(")", "")
    # Without parentheses "A OR B AND C" could be read two ways; every term of an AND must have an allowed choice.
    return all(any(term.strip() in ALLOWED for term in part.split(" OR ")) for part in expression.split(" AND "))


def main() -> int:
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--all-features"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["packages"]
    wrong = [(p["name"], p["version"], p["license"]) for p in packages if not allowed(p["license"] or "none given")]
    for name, version, license_ in wrong:
        print(f"{name} {version}: license {license_} is not on the list", file=sys.stderr)
    print(f"{len(packages)} packages, {len(wrong)} with a license that is not on the list")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
