//! Joins segments that lie in a folder, as `rmx render` joins those of a bucket: what `scripts/bench/stitch` measures.
//!
//!     stitch OUT FPS FRAMES SEGMENT...
//!
//! Every segment has FRAMES frames.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rmx::cloud::{CloudError, ObjectReader};
use rmx::media::Fps;
use rmx::render::stitch::{Header, SegmentSource, stitch};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

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
            async move {
                Ok(part(Path::new(&key), range)
                    .await
                    .expect("a segment can be read"))
            }
            .boxed()
        };
    let header = Header {
        fps,
        tags: Vec::new(),
    };
    let made = stitch(&segments, None, &header, &open, &output, |_| {}).await?;
    println!("{} frames, {} bytes", made.frame_count, made.size_bytes);
    Ok(())
}

async fn part(path: &Path, range: Range<u64>) -> std::io::Result<ObjectReader> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(range.start)).await?;
    let size_bytes = range.end - range.start;
    Ok(ObjectReader {
        size_bytes,
        content_type: None,
        body: Box::new(file.take(size_bytes)),
    })
}
