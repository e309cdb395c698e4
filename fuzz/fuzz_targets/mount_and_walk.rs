//! The input is an image: mounted and walked within 256 KiB.
#![no_main]

libfuzzer_sys::fuzz_target!(|image: &[u8]| rumpcap_testing::fuzz::mount_and_walk(image));
