//! Frames of films, for `<OffthreadVideo>`: which frame is shown at a time, and that frame as an image.
//!
//! A film is played forwards most of the time, so one ffmpeg decodes it from where it is wanted, and goes on for as long
//! as what is asked for lies ahead of it, not far away.

mod index;
mod input;
mod remote;
mod room;
mod skeleton;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use self::index::Index;
use self::input::Input;
pub(super) use self::remote::RemoteFile;
use self::room::Room;
use self::stream::FrameStream;
use super::failure::{Cause, TaskResult};
use super::fetch::Fetcher;
use super::media::{MediaFiles, named};
use super::site::Site;
use super::tools::Tools;
use crate::protocol::{FailureKind, MediaSource};

/// Films that are open at the same time; of others nothing is kept but the file. More are for frames that show more.
const FILMS: usize = 8;
const FILMS_MAX: usize = 32;
/// Places of one film at which it is played at the same time, likewise.
const STREAMS: usize = 3;
const STREAMS_MAX: usize = 16;
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
    remote: std::sync::Mutex<Vec<Remote>>,
    open: Mutex<OpenFilms>,
    /// What is to be told of films that are shown all the same.
    notes: std::sync::Mutex<Vec<String>>,
}

#[derive(Debug)]
struct OpenFilms {
    /// The most recently used one last.
    films: Vec<(Wanted, Place)>,
    room: Room<Wanted>,
}

/// Where a film is, or will be once it is opened.
type Place = Arc<Mutex<Option<Film>>>;

/// An address on another server, and the film that is there; nothing if that comes in one piece. Its server may be slow, so
/// nobody but who wants this film waits until it is known.
#[derive(Debug, Clone)]
struct Remote {
    address: String,
    file: Arc<OnceCell<Option<Arc<RemoteFile>>>>,
}

/// An open film.
#[derive(Debug)]
struct Film {
    input: Input,
    index: Index,
    /// The most recently used one last.
    streams: Vec<FrameStream>,
    /// Room for them. Known by the latest frame are those that made room.
    room: Room<usize>,
    /// Whether it was told that its end cannot be decoded.
    is_told: bool,
}

impl Films {
    /// Films of a page whose server listens at `port`.
    pub(super) fn new(tools: &Tools, site: Site, port: u16) -> Self {
        Self {
            tools: tools.clone(),
            site,
            files: OnceCell::new(),
            port,
            remote: std::sync::Mutex::default(),
            open: Mutex::new(OpenFilms {
                films: Vec::new(),
                room: Room::new(FILMS, FILMS_MAX),
            }),
            notes: std::sync::Mutex::default(),
        }
    }

    /// What there is to be told of films since the last call.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The frame that is shown at `time_s`, seconds from the film's beginning; its last one after its end. That is what the
    /// official renderer shows of a film which was cut off, too; a note tells of it.
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
        if let Some(fault) = film.fault_at(time_s) {
            let (name, codec) = (named(&wanted.source), &film.index.codec);
            let note = format!("playing {name} ({codec}) at {time_s:.3} s: {fault}");
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(note);
        }
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
        let OpenFilms { films, room } = &mut *open;
        room.tick();
        let known = films.iter().position(|(known, _)| known == wanted);
        let film = match known {
            Some(place) => films.remove(place).1,
            None => {
                room.missed(|left| left == wanted);
                if room.is_full(films.len()) {
                    room.left(films.remove(0).0);
                }
                Arc::default()
            }
        };
        films.push((wanted.clone(), Arc::clone(&film)));
        film
    }

    /// The film on another server that has this number here.
    pub(super) fn remote(&self, number: usize) -> Option<Arc<RemoteFile>> {
        let remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        remote.get(number)?.file.get()?.clone()
    }

    /// The number of the film at `address`, and where it is or will be.
    fn place_of(&self, address: &str) -> (usize, Remote) {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remote.iter().position(|film| film.address == address);
        let number = known.unwrap_or(remote.len());
        if known.is_none() {
            remote.push(Remote {
                address: address.to_owned(),
                file: Arc::default(),
            });
        }
        (number, remote[number].clone())
    }

    async fn open_film(&self, wanted: &Wanted) -> TaskResult<Film> {
        let operation = format!("playing {}", named(&wanted.source));
        let failed = |cause: Cause| cause.failure(FailureKind::Media, &operation);
        let input = match self.open_remote(&wanted.source).await.map_err(failed)? {
            Some(input) => input,
            None => {
                let Tools { guard, scratch, .. } = &self.tools;
                let files = self.files.get_or_try_init(|| async {
                    MediaFiles::new(self.site.clone(), *guard, scratch)
                });
                Input::File(files.await?.file(&wanted.source).await?)
            }
        };
        let index = self
            .index(&input)
            .await
            .map_err(|cause| failed(input.check().err().unwrap_or(cause)))?;
        Ok(Film {
            input,
            index,
            streams: Vec::new(),
            room: Room::new(STREAMS, STREAMS_MAX),
            is_told: false,
        })
    }

    /// A film on another server, if that sends parts of files.
    async fn open_remote(&self, source: &MediaSource) -> Result<Option<Input>, Cause> {
        let address = match source {
            MediaSource::Url(address) if !address.starts_with("data:") => address,
            MediaSource::Url(_) | MediaSource::Site(_) => return Ok(None),
        };
        let (number, remote) = self.place_of(address);
        let file = remote.file.get_or_try_init(|| async {
            let fetcher = Fetcher::new(self.tools.guard).map_err(|error| {
                Cause::lasting(format!("reading the certificates of this machine: {error}"))
            })?;
            let opened = RemoteFile::open(&fetcher, &self.tools.blocks, address).await?;
            Ok(opened.map(Arc::new))
        });
        let file = file.await?;
        Ok(file.as_ref().map(|file| Input::Remote {
            address: format!("http://127.0.0.1:{}{REMOTE_PATH}{number}", self.port),
            file: Arc::clone(file),
        }))
    }

    /// When its frames are shown: from the tables of an MP4, else from the whole film.
    async fn index(&self, input: &Input) -> Result<Index, Cause> {
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
    /// Why the frame that was just shown at `time_s` is not the one of that time. Told once.
    fn fault_at(&mut self, time_s: f64) -> Option<String> {
        let stream = self.streams.last()?;
        let is_over = self.index.is_over_at(time_s);
        let cut_off = self.index.fault.as_deref().filter(|_| is_over);
        let fault = stream.fault().or(cut_off).filter(|_| !self.is_told)?;
        let last_s = self.index.begin_of(stream.latest());
        let fault = format!(
            "it cannot be decoded beyond the frame at {last_s:.3} s, which is shown instead: {fault}"
        );
        self.is_told = true;
        Some(fault)
    }

    async fn frame(&mut self, tools: &Tools, wanted: &Wanted, time_s: f64) -> TaskResult<Bytes> {
        let number = self.index.frame_at(time_s);
        let failed = |cause: Cause| {
            let operation = format!(
                "playing {} ({}) at {time_s:.3} s: it cannot be decoded",
                named(&wanted.source),
                self.index.codec
            );
            cause.failure(FailureKind::Media, &operation)
        };
        let near = |latest: usize| {
            let ahead = number.checked_sub(latest)?;
            (ahead <= FRAMES_AHEAD_MAX).then_some(ahead)
        };
        let nearest = (0..self.streams.len())
            .filter_map(|place| Some((near(self.streams[place].latest())?, place)))
            .min();
        self.room.tick();
        let mut stream = match nearest {
            Some((_, place)) => self.streams.remove(place),
            None => {
                self.room.missed(|latest| near(*latest).is_some());
                if self.room.is_full(self.streams.len()) {
                    self.room.left(self.streams.remove(0).latest());
                }
                FrameStream::start(tools, &self.input, &self.index, wanted, number)
                    .await
                    .map_err(|error| failed(Cause::passing(error.to_string())))?
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

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// Which frame a page asks for.
    pub(crate) fn film_queries(mut case: crate::fuzzing::Case<'_>) {
        if let Some((_, time_s, ..)) = parse_query(&case.text()) {
            assert!(time_s.is_finite(), "{time_s}");
        }
    }
}

#[cfg(test)]
mod tests;
