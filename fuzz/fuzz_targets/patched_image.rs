//! The input is a list of changes to a real image: place, field and value of each; checksums are made right again.
#![no_main]

libfuzzer_sys::fuzz_target!(|patches: &[u8]| rumpcap_testing::fuzz::patched_image(patches));
