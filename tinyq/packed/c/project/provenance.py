"""Say in each written file where it comes from, and let files of two exports not compile together."""
import re
from string import Template

from tinyq import __version__

LICENSE = "MIT"                         # of tinyq, as in pyproject.toml
AUTHORS = "The tinyq authors"           # of the kernels; a network's weights are its trainer's
DIGEST = "@DIGEST@"                     # in a network's files: a hash of them all and of the runtime
RUNTIME = "@RUNTIME@"                   # a hash of the runtime's files
FROM = "   Packed file: "               # begins the line of a network's files that names the file they were made from
MARK = f"Written by tinyq {__version__}"

HEAD = Template(f"""\
/* SPDX-License-Identifier: {LICENSE}
   {MARK}: $about
{FROM}$origin
   SHA-256: $sha256""")

RUNTIME_HEAD = f"""\
/* SPDX-FileCopyrightText: {AUTHORS}
   SPDX-License-Identifier: {LICENSE}
   {MARK}. */
"""
RUNTIME_MACRO = f"#define TINYQ_RUNTIME_EXPORT {RUNTIME}\n\n"

# The preprocessor compares whole numbers: NAME.h of another export is noticed.
SAME_EXPORT = Template(f"""\
#if ${{NAME}}_EXPORT != {DIGEST}
#error "$name.h is of another export than this file; export the network again"
#endif
""")
SAME_RUNTIME = f"""\
#if TINYQ_RUNTIME_EXPORT != {RUNTIME}
#error "tinyq_runtime.h is of another version than this file; export all networks of this folder again"
#endif
"""


def plain_version() -> str:
    """Return the version of tinyq as three numbers, which Arduino and PlatformIO ask for."""
    return ".".join((re.findall(r"\d+", __version__) + ["0", "0"])[:3])
