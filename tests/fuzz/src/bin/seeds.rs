//! No target: writes the seeds that are made by code into `corpus/`, each target's in a folder of its own.
//! It is linked as targets are, since what it calls counts its steps as it does for them.
#![no_main]

use std::{fs, path::Path};

libfuzzer_sys::fuzz_target!(init: write(), |_bytes: &[u8]| ());

fn write() {
    for (target, seeds) in triggerly::fuzzing::seeds() {
        let dir = Path::new("corpus").join(target);
        fs::create_dir_all(&dir).expect("a folder can be made here");
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(dir.join(format!("seed-{number}")), seed)
                .expect("a file can be written here");
        }
    }
}
