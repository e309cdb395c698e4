//! The input is the seed of the corruptor, and which real image it damages.
#![no_main]

libfuzzer_sys::fuzz_target!(|seed: (u8, u64)| rumpcap_testing::fuzz::seeded_damage(seed.0, seed.1));
