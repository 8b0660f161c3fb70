//! Joins segments that lie in a folder, as `rmx render` joins those of a bucket: what `scripts/bench/stitch` measures.
//!
//!     stitch OUT FPS FRAMES SEGMENT...
//!
//! Every segment has FRAMES frames.

use std::error::Error;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rmx::cloud::{CloudError, ObjectReader};
use rmx::media::Fps;
use rmx::render::stitch::{Header, SegmentSource, stitch};

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "what it made is told to whoever runs it"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
    let output = PathBuf::from(next("OUT")?);
    let fps = Fps::from_number(next("FPS")?.parse()?)?;
    let frame_count = next("FRAMES")?.parse()?;
    let segments = arguments.map(|path| {
        let size_bytes = std::fs::metadata(&path)?.len();
        Ok(SegmentSource {
            key: path,
            size_bytes,
            frame_count,
        })
    });
    let segments = segments.collect::<std::io::Result<Vec<_>>>()?;
    let open =
        |key: String, range: Range<u64>| -> BoxFuture<'_, Result<ObjectReader, CloudError>> {
            async move { Ok(part(Path::new(&key), range).expect("a segment can be read")) }.boxed()
        };
    let header = Header {
        fps,
        tags: Vec::new(),
    };
    let made = stitch(&segments, None, &header, &open, &output, |_| {}).await?;
    println!("{} frames, {} bytes", made.frame_count, made.size_bytes);
    Ok(())
}

/// A part of a file, read at once: segments are small, and what reading from S3 costs is not what is measured.
fn part(path: &Path, range: Range<u64>) -> std::io::Result<ObjectReader> {
    let size_bytes = range.end - range.start;
    let mut bytes = vec![0; usize::try_from(size_bytes).map_err(std::io::Error::other)?];
    File::open(path)?.read_exact_at(&mut bytes, range.start)?;
    Ok(ObjectReader {
        size_bytes,
        etag: String::new(),
        content_type: None,
        body: Box::new(Cursor::new(bytes)),
    })
}
