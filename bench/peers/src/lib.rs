//! What the peers' programs share: the workloads, and the ways in which an image is read for them.
#![forbid(unsafe_code)]

pub mod image;
#[path = "../../workload.rs"]
pub mod workload;

pub use image::ImageReader;
pub use workload::{BIG_FILE_PATH, Options, Seen, Subject, run};
