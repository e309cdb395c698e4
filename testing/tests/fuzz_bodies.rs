//! The fuzz targets' bodies from seeds: what libFuzzer runs for hours elsewhere runs here a little, everywhere.

use rumpcap_testing::fuzz;
use rumpcap_testing::seed::Random;

#[test]
fn patched_images() {
    let mut random = Random::new(1);
    for _ in 0..400 {
        let len = 1 + 8 * (1 + random.below(6));
        fuzz::patched_image(&random.bytes(len as usize));
    }
}

#[test]
fn whole_images_with_noise() {
    for (n, (_, image)) in fuzz::corpus().into_iter().enumerate() {
        fuzz::mount_and_walk(&image);
        for seed in 0..30 {
            let mut random = Random::new(1000 * n as u64 + seed);
            let mut noisy = image.clone();
            for _ in 0..1 << random.below(10) {
                // Most of an image is empty; its metadata is in front.
                let at = random.below(noisy.len() as u64 / 4) as usize;
                noisy[at] = random.next() as u8;
            }
            noisy.truncate(noisy.len() - random.below(3) as usize * 1000);
            fuzz::mount_and_walk(&noisy);
        }
    }
}

#[test]
fn noise_and_nothing() {
    let mut random = Random::new(2);
    for len in [0, 1, 1024, 1100, 2047, 2048, 5000, 100_000] {
        fuzz::mount_and_walk(&vec![0xff; len]);
        fuzz::mount_and_walk(&random.bytes(len));
    }
}

#[test]
fn seeds() {
    (0..400).for_each(|seed| fuzz::seeded_damage(seed as u8, seed));
}
