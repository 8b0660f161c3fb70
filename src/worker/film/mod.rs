//! Frames of films, for `<OffthreadVideo>`: which frame is shown at a time, and that frame as an image.
//!
//! A film is played forwards most of the time, so one ffmpeg decodes it from where it is wanted, and goes on for as long
//! as what is asked for lies ahead of it, not far away.

mod index;
mod stream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use self::index::Index;
use self::stream::FrameStream;
use super::failure::{TaskResult, permanent};
use super::media::{MediaFiles, named};
use super::site::Site;
use super::tools::Tools;
use crate::protocol::{FailureKind, MediaSource};

/// Films that are open at the same time; of others nothing is kept but the file.
const FILMS_MAX: usize = 8;
/// Places of one film at which it is played at the same time.
const STREAMS_MAX: usize = 3;
/// A frame so far ahead is reached by decoding; one further away by beginning anew.
const FRAMES_AHEAD_MAX: usize = 60;

/// What is asked for, beside the time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) source: MediaSource,
    /// Whether transparency is kept.
    pub(super) transparent: bool,
    /// Whether bright films (HDR) are turned into what a usual screen shows.
    pub(super) tone_mapped: bool,
}

/// A frame as an image.
#[derive(Debug, Clone)]
pub(super) struct FilmFrame {
    pub(super) image: Bytes,
    pub(super) content_type: &'static str,
}

/// The films of one page.
#[derive(Debug)]
pub(super) struct Films {
    tools: Tools,
    site: Site,
    /// Made when the first film is asked for: most pages have none.
    files: OnceCell<MediaFiles>,
    /// The most recently used one last.
    open: Mutex<Vec<(Wanted, Place)>>,
}

/// Where a film is, or will be once it is opened.
type Place = Arc<Mutex<Option<Film>>>;

/// An open film.
#[derive(Debug)]
struct Film {
    path: PathBuf,
    index: Index,
    /// The most recently used one last.
    streams: Vec<FrameStream>,
}

impl Films {
    pub(super) fn new(tools: &Tools, site: Site) -> Self {
        Self {
            tools: tools.clone(),
            site,
            files: OnceCell::new(),
            open: Mutex::default(),
        }
    }

    /// The frame that is shown at `time_s`, seconds from the film's beginning; its last one after its end.
    ///
    /// # Errors
    /// The file is missing or cannot be decoded; file, codec and time are named.
    pub(super) async fn frame(&self, wanted: &Wanted, time_s: f64) -> TaskResult<FilmFrame> {
        let film = self.film(wanted).await;
        let mut film = film.lock().await;
        let film = match &mut *film {
            Some(film) => film,
            empty => empty.insert(self.open_film(wanted).await?),
        };
        let image = film.frame(&self.tools, wanted, time_s).await?;
        Ok(FilmFrame {
            image,
            content_type: if wanted.transparent {
                "image/png"
            } else {
                "image/bmp"
            },
        })
    }

    /// The place of a film among the open ones; the one that was not used for longest makes room.
    async fn film(&self, wanted: &Wanted) -> Place {
        let mut open = self.open.lock().await;
        let known = open.iter().position(|(known, _)| known == wanted);
        let film = match known {
            Some(place) => open.remove(place).1,
            None => Arc::default(),
        };
        if open.len() == FILMS_MAX {
            open.remove(0);
        }
        open.push((wanted.clone(), Arc::clone(&film)));
        film
    }

    async fn open_film(&self, wanted: &Wanted) -> TaskResult<Film> {
        let files = self
            .files
            .get_or_try_init(|| async { MediaFiles::new(self.site.clone(), &self.tools.scratch) });
        let path = files.await?.file(&wanted.source).await?;
        let index = index::read(&self.tools, &path).await.map_err(|reason| {
            let message = format!("playing {}: it is no film: {reason}", named(&wanted.source));
            permanent(FailureKind::Media, message)
        })?;
        Ok(Film {
            path,
            index,
            streams: Vec::new(),
        })
    }
}

impl Film {
    async fn frame(&mut self, tools: &Tools, wanted: &Wanted, time_s: f64) -> TaskResult<Bytes> {
        let number = self.index.frame_at(time_s);
        let failed = |reason: String| {
            let message = format!(
                "playing {} ({}) at {time_s:.3} s: it cannot be decoded: {reason}",
                named(&wanted.source),
                self.index.codec
            );
            permanent(FailureKind::Media, message)
        };
        let near = |stream: &FrameStream| {
            let ahead = number.checked_sub(stream.latest())?;
            (ahead <= FRAMES_AHEAD_MAX).then_some(ahead)
        };
        let nearest = (0..self.streams.len())
            .filter_map(|place| Some((near(&self.streams[place])?, place)))
            .min();
        let mut stream = match nearest {
            Some((_, place)) => self.streams.remove(place),
            None => {
                if self.streams.len() == STREAMS_MAX {
                    self.streams.remove(0);
                }
                FrameStream::start(tools, &self.path, &self.index, wanted, number)
                    .map_err(|error| failed(error.to_string()))?
            }
        };
        let image = stream.frame(number).await.map_err(failed)?;
        self.streams.push(stream);
        Ok(image)
    }
}

/// The parameters of a request to `/proxy`; nothing if it is none.
pub(super) fn parse_query(query: &str) -> Option<(String, f64, bool, bool)> {
    let pairs: HashMap<_, _> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let is = |name: &str| pairs.get(name).is_some_and(|value| value == "true");
    let time: f64 = pairs.get("time")?.parse().ok()?;
    let address = pairs.get("src")?.clone();
    time.is_finite()
        .then(|| (address, time, is("transparent"), is("toneMapped")))
}

#[cfg(test)]
mod tests;
