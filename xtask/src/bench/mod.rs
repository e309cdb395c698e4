//! `cargo xtask bench`. (In work.)
mod belady;
mod images;
mod policies;
mod trace;
use crate::Result;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the images.
    #[arg(long)]
    images: std::path::PathBuf,
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result {
    let images = images::Images::in_folder(&args.images)?;
    for image in images::Image::ALL {
        images.make(image)?;
    }
    Ok(())
}
