//! What goes into the scheduler and what comes out of it.

use crate::cloud::CloudError;
use crate::protocol::TaskFailure;

/// What the scheduler may do and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Copies at the same time, at least 1.
    pub concurrency_max: u32,
    /// Retries of one chunk.
    pub retries_per_chunk: u32,
    /// Retries of the whole render.
    pub retry_budget: u32,
    /// Backup copies of the whole render.
    pub backup_budget: u32,
    /// From the invocation to the first message. Covers a cold start.
    pub first_message_ms: u64,
    /// From one message to the next. Several heartbeats.
    pub silence_ms: u64,
    /// From the invocation to the end of the chunk: the function's timeout and a little for the way.
    pub chunk_ms: u64,
    /// For how long the cloud may refuse every copy while none is heard of.
    pub refused_ms: u64,
    /// From the first invocation to the end of the render.
    pub render_ms: u64,
}

/// Why the cloud does not take a copy at the moment. It says nothing of the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many run (429).
    Throttled,
    /// The function is being made, changed or woken (409, 502).
    NotReady,
}

/// One invocation of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyId(pub(super) u32);

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// Time has passed; nothing else.
    Tick,
    /// The first message of a copy.
    Started(CopyId),
    /// A later message, with the frames captured so far if it said so.
    Alive {
        /// The copy.
        copy: CopyId,
        /// Frames captured so far.
        rendered: Option<u32>,
    },
    /// The copy's segment is in the bucket.
    Done(CopyId),
    /// The cloud did not take the copy.
    Refused {
        /// The copy.
        copy: CopyId,
        /// Why.
        why: Refused,
    },
    /// The copy failed.
    Failed {
        /// The copy.
        copy: CopyId,
        /// How.
        failure: ChunkFailure,
    },
    /// The user wants it to stop.
    Cancel,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Invoke a worker with a chunk.
    Invoke {
        /// Name of the new copy, for later events.
        copy: CopyId,
        /// Index of the chunk.
        chunk: u32,
        /// 1 for the chunk's first copy.
        attempt: u32,
    },
    /// Stop listening to a copy.
    Cancel(CopyId),
    /// Send [`Event::Tick`] at this time, unless something happens before.
    WakeAt(u64),
    /// Tell the user.
    Note(Note),
    /// All chunks are done. The last command.
    Finished,
    /// The render has failed. The last command.
    Failed(RenderFailure),
}

/// Something the user may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A copy failed, and the chunk will be tried again.
    Retrying {
        /// Index of the chunk.
        chunk: u32,
        /// What happened.
        failure: ChunkFailure,
    },
    /// A slow copy got a twin.
    BackedUp {
        /// Index of the chunk.
        chunk: u32,
    },
    /// The cloud takes no more copies at the moment.
    Refused(Refused),
}

impl Note {
    /// The chunk it is about.
    pub fn chunk(&self) -> Option<u32> {
        match self {
            Self::Retrying { chunk, .. } | Self::BackedUp { chunk } => Some(*chunk),
            Self::Refused(_) => None,
        }
    }
}

/// Why a copy of a chunk failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFailure {
    /// The worker said so.
    #[error(transparent)]
    Task(TaskFailure),
    /// Lambda ended the invocation: out of memory, timeout, a crash.
    #[error("the function ended with {code}{}", details.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
    Crashed {
        /// Lambda's error code.
        code: String,
        /// What Lambda says about it.
        details: Option<String>,
    },
    /// The answer ended in the middle.
    #[error("the worker's answer was cut off")]
    CutOff,
    /// The answer is not in our protocol.
    #[error("the function's answer is not that of an rmx worker: {0}")]
    Protocol(String),
    /// The invocation was refused or the connection broke.
    #[error("{error}")]
    Cloud {
        /// The error.
        error: CloudError,
        /// Whether the same call may succeed on another try.
        retryable: bool,
    },
    /// No first message in time.
    #[error("the worker sent nothing within {} s of being invoked", waited_ms / 1_000)]
    NeverStarted {
        /// How long it had.
        waited_ms: u64,
    },
    /// No message for too long.
    #[error("the worker has not been heard of for {} s", silent_ms / 1_000)]
    Silent {
        /// How long it was silent.
        silent_ms: u64,
    },
    /// The whole chunk took too long.
    #[error("the worker took longer than {} s", waited_ms / 1_000)]
    TooLong {
        /// How long it had.
        waited_ms: u64,
    },
}

impl ChunkFailure {
    /// Whether the same chunk may succeed on another try.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Task(failure) => failure.retryable,
            Self::Cloud { retryable, .. } => *retryable,
            Self::Protocol(_) => false,
            Self::Crashed { .. }
            | Self::CutOff
            | Self::NeverStarted { .. }
            | Self::Silent { .. }
            | Self::TooLong { .. } => true,
        }
    }
}

/// Why a render failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderFailure {
    /// A chunk cannot be rendered.
    Chunk {
        /// Index of the chunk.
        chunk: u32,
        /// How often it was tried.
        attempts: u32,
        /// The last failure, or the one that no retry can help.
        failure: Box<ChunkFailure>,
    },
    /// Too many retries in all: something is wrong with more than one chunk.
    RetryBudget {
        /// Retries made.
        retries: u32,
        /// The chunk that failed last.
        chunk: u32,
        /// How it failed.
        failure: Box<ChunkFailure>,
    },
    /// The render took too long.
    Deadline {
        /// How long it had.
        waited_ms: u64,
        /// Why the cloud took no more copies at the end, if it took none.
        refused: Option<Refused>,
    },
    /// The user stopped it.
    Cancelled,
}

impl RenderFailure {
    /// The chunk it is about.
    pub fn chunk(&self) -> Option<u32> {
        match self {
            Self::Chunk { chunk, .. } | Self::RetryBudget { chunk, .. } => Some(*chunk),
            Self::Deadline { .. } | Self::Cancelled => None,
        }
    }
}
