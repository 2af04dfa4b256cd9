//! Runs one target, named by `ROCKETOS_FUZZ_TARGET`, under libFuzzer.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rocketos_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("ROCKETOS_FUZZ_TARGET").expect("ROCKETOS_FUZZ_TARGET names a target");
        TARGET.get_or_init(|| rocketos_fuzz::target(&name).expect("the target exists"));
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(bytes);
        }
    }
);
