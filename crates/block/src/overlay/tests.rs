//! The overlay against a naive model, under threads, and with failing devices.

use super::*;
use crate::{Counting, Effect, Fault, FaultInjector, MemoryDevice, Operation};
use proptest::prelude::*;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 / 3 % 251) as u8).collect()
}

fn overlay_of(base: Arc<dyn BlockDevice>) -> Overlay {
    Overlay::new(base, &std::env::temp_dir()).unwrap()
}

fn read(overlay: &Overlay, offset: usize, len: usize, segment: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    let mut bufs: Vec<_> = bytes.chunks_mut(segment).map(IoSliceMut::new).collect();
    overlay.read_at(offset as u64, &mut bufs).unwrap();
    bytes
}

fn write(overlay: &Overlay, offset: usize, bytes: &[u8], segment: usize) {
    let mut bufs: Vec<_> = bytes.chunks(segment).map(IoSlice::new).collect();
    overlay.write_at(offset as u64, &mut bufs).unwrap();
}

#[derive(Clone, Debug)]
struct Request {
    is_write: bool,
    offset: usize,
    len: usize,
    segment: usize,
    byte: u8,
}

fn request(device_len: usize) -> impl Strategy<Value = Request> {
    let granule = 4096usize;
    // Near the borders of granules more often than not.
    let near = (0..=device_len / granule, -2i64..=2)
        .prop_map(move |(g, d)| ((g * granule) as i64 + d).clamp(0, device_len as i64) as usize);
    let place = prop_oneof![3 => near, 1 => 0..=device_len];
    let segment = prop_oneof![1..64usize, 1000..9000usize];
    (any::<bool>(), place.clone(), place, segment, any::<u8>()).prop_map(|(is_write, a, b, segment, byte)| {
        let len = a.max(b) - a.min(b);
        Request { is_write, offset: a.min(b), len, segment, byte }
    })
}

const DEVICE_LEN: usize = 9 * 4096 + 777;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn reads_as_a_vector_does(requests in prop::collection::vec(request(DEVICE_LEN), 1..40)) {
        let mut model = pattern(DEVICE_LEN);
        let base = Arc::new(MemoryDevice::from_bytes(&model));
        let overlay = overlay_of(base.clone());
        for r in requests {
            let range = r.offset..r.offset + r.len;
            if r.is_write {
                let bytes: Vec<u8> = (0..r.len).map(|i| r.byte.wrapping_add(i as u8)).collect();
                write(&overlay, r.offset, &bytes, r.segment);
                model[range].copy_from_slice(&bytes);
            } else {
                prop_assert_eq!(&read(&overlay, r.offset, r.len, r.segment)[..], &model[range]);
            }
        }
        prop_assert_eq!(read(&overlay, 0, DEVICE_LEN, DEVICE_LEN), model);
        prop_assert_eq!(base.to_bytes(), pattern(DEVICE_LEN));
    }
}

#[test]
fn a_device_larger_than_any_memory() {
    /// Says of every byte the low byte of its page number; nothing is stored.
    struct Endless;
    impl BlockDevice for Endless {
        fn len_bytes(&self) -> u64 {
            1 << 46
        }
        fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
            let bytes = bufs.iter_mut().flat_map(|b| b.iter_mut());
            (offset..).zip(bytes).for_each(|(at, byte)| *byte = (at >> 12) as u8);
            Ok(())
        }
        fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
            panic!("OV-1: the base is never written")
        }
        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }
    let overlay = overlay_of(Arc::new(Endless));
    // The data file is as long as the highest write; hosts bound that, often at 16 TiB.
    let places: Vec<u64> = (1..50).map(|i| i * (1 << 43) / 50 / 4096 * 4096 + 4090).collect();
    for place in &places {
        overlay.write_at(*place, &mut [IoSlice::new(&[0xAA; 12])]).unwrap();
    }
    for place in &places {
        let mut bytes = [0; 20];
        overlay.read_at(place - 4, &mut [IoSliceMut::new(&mut bytes)]).unwrap();
        let page = (place >> 12) as u8;
        assert_eq!((bytes[..4].to_vec(), bytes[4..16].to_vec()), (vec![page; 4], vec![0xAA; 12]));
        assert_eq!(bytes[16..], [page.wrapping_add(1); 4]);
    }
    assert_eq!(overlay.written_bytes(), 49 * 2 * GRANULE_BYTES);
}

#[test]
fn mixed_reads_are_few_requests() {
    let base = Arc::new(Counting::new(Arc::new(MemoryDevice::from_bytes(&pattern(64 * 4096)))));
    let overlay = overlay_of(base.clone());
    write(&overlay, 8 * 4096, &[1; 4 * 4096], 4096);
    assert_eq!(base.counts().reads, 0, "whole granules are not read before they are written");
    read(&overlay, 0, 64 * 4096, 4096);
    // 8 granules before; 52 behind, in parts of 32 segments
    assert_eq!(base.counts().reads, 1 + 2);
    read(&overlay, 8 * 4096, 4 * 4096, 100);
    assert_eq!(base.counts().reads, 3, "what is present is not read from the base");
}

/// Each thread owns every fourth byte; granules are shared by all. Lost updates show as bytes of the base.
#[test]
fn writers_of_the_same_granules_lose_nothing() {
    const LEN: usize = 64 * 4096 + 100;
    let overlay = overlay_of(Arc::new(MemoryDevice::from_bytes(&vec![0xFF; LEN])));
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let overlay = &overlay;
            scope.spawn(move || {
                for chunk in (0..LEN - 64).step_by(64 * 4) {
                    let offset = chunk + thread * 16;
                    write(overlay, offset, &[thread as u8; 16], 16);
                    assert_eq!(read(overlay, offset, 16, 5), [thread as u8; 16]);
                }
            });
        }
        let overlay = &overlay;
        scope.spawn(move || {
            for _ in 0..20 {
                assert!(read(overlay, 0, LEN, 8192).iter().all(|b| *b < 4 || *b == 0xFF));
            }
        });
    });
    let all = read(&overlay, 0, LEN, LEN);
    for chunk in (0..LEN - 64).step_by(64 * 4) {
        for (i, byte) in all[chunk..chunk + 64].iter().enumerate() {
            assert_eq!(usize::from(*byte), i / 16);
        }
        assert!(all[chunk + 64..LEN.min(chunk + 256)].iter().all(|b| *b == 0xFF));
    }
}

#[test]
fn a_failing_base_leaves_the_granule_as_it_was() {
    let faulty = Arc::new(FaultInjector::new(Arc::new(MemoryDevice::from_bytes(&[7; 8192]))));
    let overlay = overlay_of(faulty.clone());
    let fault = Fault { operation: Operation::Read, nth: 1, effect: Effect::Fail { errno: 5 } };
    faulty.inject(fault).unwrap();
    assert!(overlay.write_at(10, &mut [IoSlice::new(&[1; 10])]).is_err());
    assert_eq!(overlay.written_bytes(), 0);
    assert_eq!(read(&overlay, 0, 8192, 8192), [7; 8192]);
    write(&overlay, 10, &[1; 10], 10);
    assert_eq!(read(&overlay, 9, 12, 12), [7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7]);
}

#[test]
fn the_end_of_the_device() {
    let overlay = overlay_of(Arc::new(MemoryDevice::from_bytes(&[7; 5000])));
    let short = Err(Error::ShortDevice { need: 5001, have: 5000 });
    assert_eq!(overlay.write_at(4999, &mut [IoSlice::new(&[1; 2])]), short);
    assert_eq!(overlay.read_at(4999, &mut [IoSliceMut::new(&mut [1; 2])]), short);
    write(&overlay, 4096, &[1; 904], 904);
    assert_eq!(read(&overlay, 4990, 10, 10), [1; 10]);
    assert_eq!(read(&overlay, 4090, 10, 10), [7, 7, 7, 7, 7, 7, 1, 1, 1, 1]);
    assert!(overlay_of(Arc::new(MemoryDevice::new(0))).read_at(0, &mut []).is_ok());
}

#[test]
fn no_directory_is_an_error() {
    let overlay = Overlay::new(Arc::new(MemoryDevice::new(10)), Path::new("/nonexistent-directory"));
    assert_eq!(overlay.err(), Some(Error::NotFound));
}
