"""Write build files: CMake, Arduino, PlatformIO and Zephyr. They take every network of their folder."""
import json
from string import Template

from tinyq.packed.c.project.provenance import AUTHORS, LICENSE, MARK, RUNTIME, plain_version

CMAKE = f"""\
# SPDX-License-Identifier: {LICENSE}
# {MARK}: one library per network of this folder.
#   add_subdirectory(this_folder)
#   target_link_libraries(firmware PRIVATE tinyq::NAME)
cmake_minimum_required(VERSION 3.13)
project(tinyq_networks C)

set(here "${{CMAKE_CURRENT_SOURCE_DIR}}")
if(NOT TARGET tinyq_runtime)
  file(GLOB sources CONFIGURE_DEPENDS "${{here}}/tinyq_*.c")
  add_library(tinyq_runtime STATIC ${{sources}})
  set_target_properties(tinyq_runtime PROPERTIES C_STANDARD 99 TINYQ_EXPORT {RUNTIME})
  target_include_directories(tinyq_runtime PUBLIC "${{here}}")
endif()
get_target_property(runtime tinyq_runtime TINYQ_EXPORT)
if(NOT runtime STREQUAL "{RUNTIME}")
  message(FATAL_ERROR "${{here}} needs another version of tinyq's runtime; export all networks again")
endif()

file(GLOB tests CONFIGURE_DEPENDS "${{here}}/*_selftest.c")
foreach(test IN LISTS tests)                # of a network, which may be called NAME_selftest
  string(REGEX REPLACE "_selftest\\.c$" ".c" network "${{test}}")
  if(NOT EXISTS "${{network}}")
    list(REMOVE_ITEM tests "${{test}}")
  endif()
endforeach()
foreach(test IN LISTS tests)
  get_filename_component(name "${{test}}" NAME)
  string(REGEX REPLACE "_selftest\\\\.c$" "" name "${{name}}")
  add_library(network_${{name}} STATIC "${{here}}/${{name}}.c" "${{test}}")
  add_library(tinyq::${{name}} ALIAS network_${{name}})
  set_target_properties(network_${{name}} PROPERTIES C_STANDARD 99)
  target_include_directories(network_${{name}} PUBLIC "${{here}}")
  target_link_libraries(network_${{name}} PUBLIC tinyq_runtime)
endforeach()

# On its own and on a computer: the self-tests and the examples as programs.
if(CMAKE_SOURCE_DIR STREQUAL here AND NOT CMAKE_CROSSCOMPILING)
  enable_testing()
  foreach(test IN LISTS tests)
    get_filename_component(name "${{test}}" NAME)
    string(REGEX REPLACE "_selftest\\\\.c$" "" name "${{name}}")
    foreach(program selftest example)
      add_executable(${{name}}_${{program}} "${{here}}/examples/${{name}}/${{program}}.c")
      set_target_properties(${{name}}_${{program}} PROPERTIES C_STANDARD 99)
      target_link_libraries(${{name}}_${{program}} PRIVATE tinyq::${{name}} $<$<NOT:$<PLATFORM_ID:Windows>>:m>)
    endforeach()
    add_test(NAME ${{name}} COMMAND ${{name}}_selftest)
  endforeach()
endif()
"""

ZEPHYR_MODULE = f"""\
# SPDX-License-Identifier: {LICENSE}
# {MARK}: west finds this folder, or -DZEPHYR_EXTRA_MODULES=this_folder names it.
build:
  cmake: zephyr
"""

ZEPHYR_CMAKE = f"""\
# SPDX-License-Identifier: {LICENSE}
# {MARK}: every network of the folder above, and the runtime.
file(GLOB sources CONFIGURE_DEPENDS "${{CMAKE_CURRENT_LIST_DIR}}/../*.c")
zephyr_library()
zephyr_library_sources(${{sources}})
zephyr_include_directories("${{CMAKE_CURRENT_LIST_DIR}}/..")
"""

ARDUINO = Template(f"""\
# SPDX-License-Identifier: {LICENSE}
name=$name
version={plain_version()}
author={AUTHORS}
maintainer={AUTHORS}
sentence={MARK}: a network in integers, without heap and floating point.
paragraph=From $origin, SHA-256 $sha256.
category=Data Processing
url=
architectures=*
includes=$name.h
""")

SKETCH = Template(f"""\
/* SPDX-License-Identifier: {LICENSE}
   {MARK}: runs the self-test of $name on an Arduino and prints the result. */
#include <$name.h>

void setup()
{{
    Serial.begin(115200);
    while (!Serial) {{
    }}
    int wrong = ${{name}}_selftest();
    if (wrong) {{
        Serial.print("$name: wrong outputs for sample ");
        Serial.println(wrong);
    }} else {{
        Serial.println("$name: ok");
    }}
}}

void loop()
{{
}}
""")


def build_files(name: str, origin: str, sha256: str) -> dict[str, str]:
    """Return {file name: text}; origin and sha256: of the packed file."""
    values = {"name": name, "origin": origin, "sha256": sha256}
    platformio = {"name": name, "version": plain_version(), "license": LICENSE,
                  "description": f"{MARK}: a network in integers; from {origin}, SHA-256 {sha256}",
                  "headers": f"{name}.h", "frameworks": "*", "platforms": "*", "build": {"srcFilter": ["+<*.c>"]}}
    return {"CMakeLists.txt": CMAKE, "library.properties": ARDUINO.substitute(values),
            "library.json": json.dumps(platformio, indent=2) + "\n", "zephyr/module.yml": ZEPHYR_MODULE,
            "zephyr/CMakeLists.txt": ZEPHYR_CMAKE,
            f"examples/{name}_arduino/{name}_arduino.ino": SKETCH.substitute(values)}
