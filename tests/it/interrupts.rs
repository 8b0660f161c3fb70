//! Ctrl-C and SIGTERM while something hangs: one ends every verb, with the state in order; two end it at once.
//!
//! `rmx` runs as a process against a cloud of the test's own that does not answer one call, ever. That it ends all the same,
//! and with code 14, cannot be the cloud's doing.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use rmx::cloud::Tags;
use rmx::local::{Fault, FaultKind, Moment};
use rmx::state::{StateError, StateStore};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::TestProject;
use crate::support::cloud::{TestCloud, make_bucket};

/// No step of a test may take longer. A hanging call takes for ever, and rmx gives up waiting for it after a minute.
const STEP_TIME_MAX: Duration = Duration::from_secs(45);

/// Runs at the same time: most of each is waiting.
const AT_ONCE: usize = 6;

const CONFIG: &str = r#"
project = "hello"
target = "aws"
region = "eu-central-1"
[function]
package = "function"
architecture = "x86_64"
[[site]]
name = "page"
folder = "page"
"#;

/// A project, and the cloud that stands for AWS.
struct Setup {
    project: TestProject,
    cloud: TestCloud,
}

impl Setup {
    async fn new() -> Self {
        let mut project = TestProject::new();
        project.write("remotion.toml", CONFIG);
        // A worker that is never done.
        project.write("function/bootstrap", "#!/bin/sh\nexec sleep 1000\n");
        project.write("page/index.html", "<p>1</p>");
        project.write("page/a.js", "1");
        let cloud = TestCloud::start().await;
        for (name, value) in cloud.variables() {
            project.set_variable(name, &value);
        }
        Self { project, cloud }
    }

    /// The same with everything as it is now, in a cloud of its own.
    async fn copy(&self) -> Self {
        let mut copy = Self::new().await;
        copy.cloud = TestCloud::copy_of(&self.cloud).await;
        copy.project.copy_from(&self.project);
        for (name, value) in copy.cloud.variables() {
            copy.project.set_variable(name, &value);
        }
        copy
    }

    /// Starts `rmx`. What it says goes into a pipe; `terminal` is its standard input.
    fn start(&self, arguments: &[&str], terminal: Option<OwnedFd>) -> Child {
        let mut command = Command::from(self.project.command(arguments));
        command
            .stdin(terminal.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn rmx(&self, arguments: &[&str]) -> (ExitStatus, String) {
        ended(self.start(arguments, None)).await
    }

    async fn apply(&self) {
        let (status, said) = self.rmx(&["apply", "--auto-approve"]).await;
        assert_eq!(status.code(), Some(0), "{said}");
        let (status, said) = self.rmx(&["plan", "--detailed-exitcode"]).await;
        assert_eq!(status.code(), Some(0), "{said}");
    }

    /// Whether the state can be read, if there is one.
    async fn state_is_in_order(&self) {
        let store = StateStore::new(self.project.path(), &"hello".parse().unwrap(), None);
        match store.load().await {
            // It is in S3; the next command reads it there.
            Err(StateError::Moved { .. }) => {}
            found => drop(found.unwrap()),
        }
    }

    /// From now on the `call`th call is not answered.
    fn hang_at(&self, call: u64, moment: Moment) {
        self.cloud.faults().schedule([Fault {
            call,
            moment,
            kind: FaultKind::Silence,
        }]);
    }

    /// How many calls a command makes that comes to its end.
    async fn calls_of(&self, arguments: &[&str]) -> u64 {
        self.cloud.faults().schedule(None);
        let (status, said) = self.rmx(arguments).await;
        assert_eq!(status.code(), Some(0), "{said}");
        self.cloud.faults().calls()
    }

    /// Runs a command, waits until its call hangs, interrupts it, and requires that it ends as it should. `false` if it came
    /// to its end without that call.
    async fn interrupted(&self, arguments: &[&str], signal: Signal) -> bool {
        let mut child = self.start(arguments, None);
        let hangs = tokio::select! {
            () = self.cloud.faults().struck() => true,
            _ = child.wait() => false,
        };
        if hangs {
            send(&child, signal);
            let (status, said) = ended(child).await;
            assert_eq!(status.code(), Some(14), "{arguments:?}: {said}");
            assert!(said.contains("Interrupted"), "{said}");
            self.state_is_in_order().await;
        }
        self.cloud.faults().schedule(None);
        hangs
    }
}

fn send(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    kill_process(id.and_then(Pid::from_raw).unwrap(), signal).unwrap();
}

/// How it ended, and what it said on standard error.
async fn ended(mut child: Child) -> (ExitStatus, String) {
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let end = async {
        stderr.read_to_string(&mut said).await.unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(STEP_TIME_MAX, end).await;
    let status = status.unwrap_or_else(|_| panic!("it does not end: {said}"));
    (status, said)
}

/// Interrupts the command at each of `calls`, each time in a copy of `start`, and lets the next one finish.
async fn sweep(start: &Setup, arguments: &[&str], calls: Vec<u64>) {
    let runs = futures::stream::iter(calls.iter().copied()).map(|call| async move {
        let setup = start.copy().await;
        // Half of the calls have had their effect.
        let (moment, signal) = match call % 2 {
            0 => (Moment::Before, Signal::INT),
            _ => (Moment::After, Signal::TERM),
        };
        setup.hang_at(call, moment);
        let interrupted = setup.interrupted(arguments, signal).await;
        if arguments[0] == "apply" {
            setup.apply().await;
        } else {
            let (status, said) = setup.rmx(arguments).await;
            assert_eq!(status.code(), Some(0), "call {call}: {said}");
        }
        usize::from(interrupted)
    });
    let interrupted: Vec<usize> = runs.buffer_unordered(AT_ONCE).collect().await;
    let interrupted = interrupted.iter().sum::<usize>();
    assert!(interrupted * 2 >= calls.len(), "{interrupted} of {calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_apply_ends_whichever_call_hangs() {
    let start = Setup::new().await;
    let arguments = ["apply", "--auto-approve"];
    let calls = start.copy().await.calls_of(&arguments).await;
    // Every call of a first deploy.
    sweep(&start, &arguments, (1..=calls).collect()).await;

    start.apply().await;
    let changed = CONFIG.replace("[function]", "[function]\nmemory_mb = 3008");
    start.project.write("remotion.toml", &changed);
    start.project.write("page/a.js", "2");
    let calls = start.copy().await.calls_of(&arguments).await;
    sweep(&start, &arguments, (1..=calls).step_by(5).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_destroy_ends_whichever_call_hangs() {
    let start = Setup::new().await;
    start.apply().await;
    let arguments = ["destroy", "--auto-approve"];
    let calls = start.copy().await.calls_of(&arguments).await;
    sweep(&start, &arguments, (1..=calls).step_by(5).collect()).await;
}

/// The state is in S3: a lock that was not let go of would refuse the next command.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rollback_lets_go_of_its_lock_and_is_finished_by_the_next() {
    let start = Setup::new().await;
    let state = "[state]\nbackend = \"s3\"\nbucket = \"rmx-test-states\"\n";
    start
        .project
        .write("remotion.toml", &format!("{CONFIG}{state}"));
    make_bucket(&start.cloud.connect().await, "rmx-test-states").await;
    start.apply().await;
    let changed = CONFIG.replace("[function]", "[function]\nmemory_mb = 3008");
    start
        .project
        .write("remotion.toml", &format!("{changed}{state}"));
    start.apply().await;
    let arguments = ["rollback", "--to", "1", "--auto-approve"];
    let calls = start.copy().await.calls_of(&arguments).await;
    sweep(&start, &arguments, (1..=calls).collect()).await;
}

/// Killed at every call of the move of a state to S3: there is one state or a signpost to it at any time, and the same command
/// finishes the move.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_migration_is_finished_by_the_next() {
    let start = Setup::new().await;
    make_bucket(&start.cloud.connect().await, "rmx-test-states").await;
    start.apply().await;
    let state = "[state]\nbackend = \"s3\"\nbucket = \"rmx-test-states\"\n";
    start
        .project
        .write("remotion.toml", &format!("{CONFIG}{state}"));
    let arguments = ["state", "migrate"];
    let calls = start.copy().await.calls_of(&arguments).await;
    assert!(calls >= 5, "{calls}");
    let runs = futures::stream::iter(1..=calls).map(|call| {
        let start = &start;
        async move {
            let setup = start.copy().await;
            let moment = match call % 2 {
                0 => Moment::Before,
                _ => Moment::After,
            };
            setup.hang_at(call, moment);
            let mut child = setup.start(&arguments, None);
            let hangs = tokio::select! {
                () = setup.cloud.faults().struck() => true,
                _ = child.wait() => false,
            };
            if hangs {
                send(&child, Signal::KILL);
            }
            let _ = ended(child).await;
            setup.cloud.faults().schedule(None);
            let (mut status, mut said) = setup.rmx(&["state", "migrate", "--json"]).await;
            if status.code() == Some(11) {
                // The lease of the killed one lasts for a minute; nobody is at work.
                let told: serde_json::Value =
                    serde_json::from_str(said.lines().last().unwrap()).unwrap();
                let id = told["diagnostics"][0]["id"].as_str().unwrap().to_owned();
                let unlock = ["state", "unlock", &id, "--force"];
                let (unlocked, said_of_it) = setup.rmx(&unlock).await;
                assert_eq!(unlocked.code(), Some(0), "call {call}: {said_of_it}");
                (status, said) = setup.rmx(&arguments).await;
            }
            assert_eq!(status.code(), Some(0), "call {call}: {said}");
            let (status, said) = setup.rmx(&["plan", "--detailed-exitcode"]).await;
            assert_eq!(status.code(), Some(0), "call {call}: {said}");
            usize::from(hangs)
        }
    });
    let killed: Vec<usize> = runs.buffer_unordered(AT_ONCE).collect().await;
    assert!(killed.iter().sum::<usize>() * 2 >= killed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_is_finished_by_the_next() {
    let start = Setup::new().await;
    let (group, nobody) = ("/aws/lambda/rmx-hello", Tags::new());
    let cloud = start.cloud.connect().await;
    cloud
        .create_log_group(&group.parse().unwrap(), &nobody)
        .await
        .unwrap();
    let arguments = ["import", "log_group.main", group];
    let calls = start.copy().await.calls_of(&arguments).await;
    sweep(&start, &arguments, (1..=calls).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_hangs_in_whichever_verb_one_signal_ends_it() {
    let setup = Setup::new().await;
    setup.apply().await;
    for verb in [
        &["plan"][..],
        &["plan", "--destroy"],
        &["apply", "--refresh-only", "--auto-approve"],
        &["render", "main", "out.mp4"],
        &["still", "main", "out.png"],
        &["compositions"],
    ] {
        for (call, signal) in [(1, Signal::INT), (2, Signal::TERM)] {
            // A cloud of its own: a late call of the process before would be taken for this one's.
            let setup = setup.copy().await;
            setup.hang_at(call, Moment::Before);
            let hung = setup.interrupted(verb, signal).await;
            assert!(hung, "{verb:?} makes no call {call}");
        }
    }
    // The worker hangs, and the cloud answers everything else.
    for verb in [
        &["render", "main", "out.mp4"][..],
        &["still", "main", "out.png"],
        &["compositions"],
    ] {
        let mut child = setup.start(verb, None);
        let before = setup.cloud.faults().calls();
        while setup.cloud.faults().calls() < before + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(child.try_wait().unwrap().is_none());
        }
        send(&child, Signal::INT);
        let (status, said) = ended(child).await;
        assert_eq!(status.code(), Some(14), "{verb:?}: {said}");
    }
    setup.apply().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_end_an_apply_at_once() {
    let start = Setup::new().await;
    let arguments = ["apply", "--auto-approve"];
    let calls = start.copy().await.calls_of(&arguments).await;
    let mut twice = 0;
    // Well into the changes: what comes before them is left at the first signal.
    for call in [calls * 5 / 8, calls * 3 / 4, calls * 7 / 8] {
        let setup = start.copy().await;
        setup.hang_at(call, Moment::After);
        let mut child = setup.start(&arguments, None);
        setup.cloud.faults().struck().await;
        send(&child, Signal::INT);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Once more leaves at once") {
            let read = stderr.read_line(&mut said);
            let read = tokio::time::timeout(STEP_TIME_MAX, read).await;
            assert!(read.unwrap().unwrap() > 0, "{said}");
        }
        send(&child, Signal::TERM);
        let rest = stderr.read_to_string(&mut said);
        tokio::time::timeout(STEP_TIME_MAX, rest)
            .await
            .unwrap()
            .unwrap();
        let status = tokio::time::timeout(STEP_TIME_MAX, child.wait()).await;
        assert_eq!(status.unwrap().unwrap().code(), Some(14), "{said}");
        twice += usize::from(said.contains("Interrupted twice"));
        setup.state_is_in_order().await;
        setup.cloud.faults().schedule(None);
        setup.apply().await;
    }
    // On a busy machine the second may come when the first has done its work.
    assert!(twice > 0, "the second signal changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_answers_ends_with_one_signal() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let setup = Setup::new().await;
    setup.apply().await;
    setup.project.write("page/a.js", "2");
    for (verb, signal) in [("apply", Signal::INT), ("destroy", Signal::TERM)] {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let name = Path::new(name.to_str().unwrap());
        let slave = std::fs::File::options().read(true).write(true).open(name);
        let mut child = setup.start(&[verb], Some(slave.unwrap().into()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = Vec::new();
        // The prompt ends without a line break.
        while !said.ends_with(b"> ") {
            let byte = tokio::time::timeout(STEP_TIME_MAX, stderr.read_u8()).await;
            said.push(byte.unwrap().unwrap());
        }
        send(&child, signal);
        let status = tokio::time::timeout(STEP_TIME_MAX, child.wait()).await;
        assert_eq!(status.unwrap().unwrap().code(), Some(14), "{verb}");
    }
    setup.state_is_in_order().await;
    setup.apply().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_with_everything_it_started() {
    let setup = Setup::new().await;
    let build = "sleep 1000 & echo $! > started; wait";
    let config = format!("{CONFIG}build = \"{build}\"\n");
    setup.project.write("remotion.toml", &config);
    let started = setup.project.path().join("started");
    for signal in [Signal::INT, Signal::TERM] {
        let child = setup.start(&["plan"], None);
        let id = loop {
            let text = std::fs::read_to_string(&started).unwrap_or_default();
            if let Ok(id) = text.trim().parse::<i32>() {
                break id;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        send(&child, signal);
        // Standard error stays open for as long as anybody has it.
        let (status, said) = ended(child).await;
        assert_eq!(status.code(), Some(14), "{said}");
        let sleeper = std::fs::read_to_string(format!("/proc/{id}/stat"));
        assert!(
            sleeper.is_err() || sleeper.is_ok_and(|stat| stat.contains(") Z ")),
            "it runs on"
        );
        std::fs::remove_file(&started).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_large_file_is_no_reason_to_stay() {
    let setup = Setup::new().await;
    let large = setup.project.path().join("page/large.bin");
    // Nothing but its length; digesting it takes hours.
    let file = std::fs::File::create(&large).unwrap();
    file.set_len(1 << 40).unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let child = setup.start(&["plan"], None);
        let open = format!("/proc/{}/fd", child.id().unwrap());
        let is_read = || {
            let files = std::fs::read_dir(&open).into_iter().flatten().flatten();
            let mut files = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            files.any(|file| file.ends_with("page/large.bin"))
        };
        while !is_read() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        send(&child, signal);
        let (status, said) = ended(child).await;
        assert_eq!(status.code(), Some(14), "{said}");
    }
}
