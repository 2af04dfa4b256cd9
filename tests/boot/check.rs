//! Health checks that machines here are given.

use rocketos_tests::fixture::VERSIONS;

/// A required one that runs `script`, on the second release alone: on all others it passes.
pub fn of_the_second_release(script: &str) -> String {
    format!(
        "level = 'required'\nkind = 'command'\n\
         command = ['/bin/sh', '-c', '! grep -q VERSION_ID={} /usr/lib/os-release || {script}']\n",
        VERSIONS[1]
    )
}
