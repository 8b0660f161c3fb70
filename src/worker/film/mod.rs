//! Frames of films, for `<OffthreadVideo>`: which frame is shown at a time, and that frame as an image.
//!
//! A film is played forwards most of the time, so one ffmpeg decodes it from where it is wanted, and goes on for as long
//! as what is asked for lies ahead of it, not far away.

mod index;
mod input;
mod remote;
mod skeleton;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use self::index::Index;
use self::input::Input;
pub(super) use self::remote::RemoteFile;
use self::stream::FrameStream;
use super::failure::{TaskResult, permanent};
use super::fetch::Fetcher;
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

/// Where the page's server has films of other servers, for ffmpeg.
pub(super) const REMOTE_PATH: &str = "/.rmx/film/";

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
    /// The page's server, through which ffmpeg reads what lies on other servers.
    port: u16,
    /// Films of other servers, by the number they have in their address there.
    remote: Mutex<Vec<Arc<RemoteFile>>>,
    /// The most recently used one last.
    open: Mutex<Vec<(Wanted, Place)>>,
}

/// Where a film is, or will be once it is opened.
type Place = Arc<Mutex<Option<Film>>>;

/// An open film.
#[derive(Debug)]
struct Film {
    input: Input,
    index: Index,
    /// The most recently used one last.
    streams: Vec<FrameStream>,
}

impl Films {
    /// Films of a page whose server listens at `port`.
    pub(super) fn new(tools: &Tools, site: Site, port: u16) -> Self {
        Self {
            tools: tools.clone(),
            site,
            files: OnceCell::new(),
            port,
            remote: Mutex::default(),
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

    /// The film on another server that has this number here.
    pub(super) async fn remote(&self, number: usize) -> Option<Arc<RemoteFile>> {
        self.remote.lock().await.get(number).cloned()
    }

    async fn open_film(&self, wanted: &Wanted) -> TaskResult<Film> {
        let failed = |reason: String| {
            let message = format!("playing {}: {reason}", named(&wanted.source));
            permanent(FailureKind::Media, message)
        };
        let input = match self.open_remote(&wanted.source).await.map_err(failed)? {
            Some(input) => input,
            None => {
                let scratch = &self.tools.scratch;
                let files = self
                    .files
                    .get_or_try_init(|| async { MediaFiles::new(self.site.clone(), scratch) });
                Input::File(files.await?.file(&wanted.source).await?)
            }
        };
        let index = self
            .index(&input)
            .await
            .map_err(|reason| match input.check() {
                Err(unreadable) => failed(unreadable),
                Ok(()) => failed(format!("it is no film: {reason}")),
            })?;
        Ok(Film {
            input,
            index,
            streams: Vec::new(),
        })
    }

    /// A film on another server, if that sends parts of files.
    async fn open_remote(&self, source: &MediaSource) -> Result<Option<Input>, String> {
        let address = match source {
            MediaSource::Url(address) if !address.starts_with("data:") => address,
            MediaSource::Url(_) | MediaSource::Site(_) => return Ok(None),
        };
        let mut remote = self.remote.lock().await;
        let known = remote.iter().position(|file| file.address == *address);
        let number = match known {
            Some(number) => number,
            None => {
                let fetcher = Fetcher::new().map_err(|error| {
                    format!("reading the certificates of this machine: {error}")
                })?;
                let opened = RemoteFile::open(&fetcher, &self.tools.blocks, address).await?;
                let Some(file) = opened else {
                    return Ok(None);
                };
                remote.push(Arc::new(file));
                remote.len() - 1
            }
        };
        Ok(Some(Input::Remote {
            address: format!("http://127.0.0.1:{}{REMOTE_PATH}{number}", self.port),
            file: Arc::clone(&remote[number]),
        }))
    }

    /// When its frames are shown: from the tables of an MP4, else from the whole film.
    async fn index(&self, input: &Input) -> Result<Index, String> {
        if let Input::Remote { file, .. } = input
            && let Some(tables) = skeleton::write(file, &self.tools.scratch).await?
            && let Ok(index) =
                index::read(&self.tools, &Input::File(tables.path().to_owned())).await
        {
            return Ok(index);
        }
        index::read(&self.tools, input).await
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
                FrameStream::start(tools, &self.input, &self.index, wanted, number)
                    .map_err(|error| failed(error.to_string()))?
            }
        };
        let image = stream.frame(number).await;
        self.input.check().map_err(failed)?;
        let image = image.map_err(failed)?;
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
