//! A headless Chromium of our own: started with frames under our control, killed with everything it started.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cdp::{Cdp, CdpError, Event};
use super::failure::{TaskResult, internal, retryable};
use super::proxy::Proxy;
use super::tools::Tools;
use crate::protocol::{BrowserSettings, FailureKind, TaskFailure};

/// From the start of the process to its first answer. The official renderer waits 25 s.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(25);
/// Lines of the browser's standard error that are kept for an error message.
const STDERR_LINES_MAX: usize = 20;

/// What decides pixels, and what keeps the browser from doing anything but draw. Frames are driven by
/// `HeadlessExperimental.beginFrame`; drawing is in software, which is faster than an emulated GPU.
const FLAGS: &[&str] = &[
    "--remote-debugging-pipe",
    "--enable-begin-frame-control",
    "--run-all-compositor-stages-before-draw",
    // What may be painted at once. By default it is 512 MB, and what is beyond that stays black: half of a picture of 100 million
    // pixels did.
    "--force-gpu-mem-available-mb=4096",
    "--disable-new-content-rendering-timeout",
    "--no-sandbox",
    "--no-zygote",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--mute-audio",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--allow-pre-commit-input",
    "--allow-running-insecure-content",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-hang-monitor",
    "--disable-ipc-flooding-protection",
    "--disable-popup-blocking",
    "--disable-print-preview",
    "--disable-prompt-on-repost",
    "--disable-renderer-backgrounding",
    "--disable-site-isolation-trials",
    "--disable-sync",
    "--disable-features=AudioServiceOutOfProcess,IsolateOrigins,site-per-process,Translate,BackForwardCache,AvoidUnnecessaryBeforeUnloadCheckSync,IntensiveWakeUpThrottling,PaintHolding",
    "--enable-features=NetworkService,NetworkServiceInProcess",
    "--intensive-wake-up-throttling-policy=0",
    "--disk-cache-size=268435456",
    "--export-tagged-pdf",
    "--metrics-recording-only",
    "--no-pings",
    "--password-store=basic",
    "--use-mock-keychain",
    "--video-threads=1",
];

/// What the user has to say. The dark colour scheme is a matter of the page.
fn flags_of(settings: &BrowserSettings) -> Vec<String> {
    let BrowserSettings {
        user_agent,
        dark_mode: _,
        ignore_certificate_errors,
        disable_web_security,
    } = settings;
    let user_agent = user_agent.as_ref();
    let switches = [
        (*ignore_certificate_errors, "--ignore-certificate-errors"),
        (*disable_web_security, "--disable-web-security"),
    ];
    let switches = switches.into_iter().filter(|(on, _)| *on);
    switches
        .map(|(_, flag)| flag.to_owned())
        .chain(user_agent.map(|name| format!("--user-agent={name}")))
        .collect()
}

/// A running browser.
#[derive(Debug)]
pub(super) struct Browser {
    pub(super) cdp: Cdp,
    pub(super) events: mpsc::Receiver<Event>,
    /// Its way to other servers.
    pub(super) proxy: Proxy,
    process: Child,
    stderr: Arc<Mutex<VecDeque<String>>>,
    _readers: JoinSet<()>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser and waits until it answers. `scale` is its device pixels to a CSS pixel, 0.5 at least.
    pub(super) async fn launch(
        tools: &Tools,
        scale: f64,
        settings: &BrowserSettings,
    ) -> TaskResult<Self> {
        let profile = tempfile::Builder::new()
            .prefix("rmx-browser-")
            .tempdir_in(&tools.scratch)
            .map_err(|error| internal("making the browser's profile folder", error))?;
        let proxy = Proxy::start(tools.guard).await?;
        let pipes =
            || std::io::pipe().map_err(|error| internal("making a pipe to the browser", error));
        let ((their_input, our_output), (our_input, their_output)) = (pipes()?, pipes()?);
        let mut command = tools.browser_command();
        command
            .args(FLAGS)
            .args(flags_of(settings))
            .args(proxy.flags())
            .arg(format!("--force-device-scale-factor={scale}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
            .fd_mappings(vec![
                FdMapping {
                    parent_fd: OwnedFd::from(their_input),
                    child_fd: 3,
                },
                FdMapping {
                    parent_fd: OwnedFd::from(their_output),
                    child_fd: 4,
                },
            ])
            .map_err(|error| internal("handing the browser its pipes", error))?;
        let shown = tools.chromium.display();
        let mut process = command.spawn().map_err(|error| {
            retryable(
                FailureKind::Browser,
                format!("starting the browser {shown}: {error}"),
            )
        })?;
        drop(command); // closes the browser's ends of the pipes in this process
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = JoinSet::new();
        if let Some(pipe) = process.stderr.take() {
            readers.spawn(keep_tail(pipe, Arc::clone(&stderr)));
        }
        let to = pipe::Sender::from_owned_fd(OwnedFd::from(our_output))
            .map_err(|error| internal("opening the browser's pipe", error))?;
        let from = pipe::Receiver::from_owned_fd(OwnedFd::from(our_input))
            .map_err(|error| internal("opening the browser's pipe", error))?;
        let (cdp, events) = Cdp::new(to, from);
        let mut browser = Self {
            cdp,
            events,
            proxy,
            process,
            stderr,
            _readers: readers,
            _profile: profile,
        };
        let answer = browser
            .cdp
            .call(None, "Browser.getVersion", json!({}), LAUNCH_TIMEOUT)
            .await;
        match answer {
            Ok(version) => {
                tracing::debug!("browser started: {}", version["product"]);
                Ok(browser)
            }
            Err(error) => {
                let message = format!(
                    "starting the browser {shown}: {error}{}",
                    browser.last_words()
                );
                browser.kill().await;
                Err(retryable(FailureKind::Browser, message))
            }
        }
    }

    /// The failure that a broken command amounts to.
    pub(super) fn failure(&self, operation: &str, error: &CdpError) -> TaskFailure {
        retryable(
            FailureKind::Browser,
            format!("{operation}: {error}{}", self.last_words()),
        )
    }

    fn last_words(&self) -> String {
        let lines = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return String::new();
        }
        format!(
            "\nthe browser's last words:\n{}",
            lines.iter().cloned().collect::<Vec<_>>().join("\n")
        )
    }

    /// A fresh page whose frames we control; returns its session.
    pub(super) async fn open_page(&self, width: u32, height: u32) -> Result<String, CdpError> {
        let parameters = json!({
            "url": "about:blank", "width": width, "height": height, "enableBeginFrameControl": true,
        });
        let target = self
            .cdp
            .call(None, "Target.createTarget", parameters, LAUNCH_TIMEOUT)
            .await?;
        let parameters = json!({"targetId": target["targetId"], "flatten": true});
        let session = self
            .cdp
            .call(None, "Target.attachToTarget", parameters, LAUNCH_TIMEOUT)
            .await?;
        Ok(session["sessionId"].as_str().unwrap_or_default().to_owned())
    }

    /// The process that draws: it puts the layers of pages together into frames.
    pub(super) async fn display_process(&self) -> Result<u32, CdpError> {
        let method = "SystemInfo.getProcessInfo";
        let answer = self.cdp.call(None, method, json!({}), LAUNCH_TIMEOUT);
        let answer = answer.await?;
        let processes = answer["processInfo"].as_array();
        let drawing = processes
            .into_iter()
            .flatten()
            .find(|process| process["type"] == "GPU")
            .and_then(|process| u32::try_from(process["id"].as_u64()?).ok());
        drawing.ok_or_else(|| CdpError::Refused {
            method,
            message: "the browser names no process that draws".to_owned(),
        })
    }

    /// Ends the browser and everything it started, and waits for it.
    pub(super) async fn kill(&mut self) {
        self.kill_group();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.process.wait()).await;
    }

    fn kill_group(&self) {
        let group = self
            .process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.kill_group();
    }
}

async fn keep_tail(pipe: tokio::process::ChildStderr, tail: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line)
            .chars()
            .take(500)
            .collect::<String>();
        tracing::debug!("browser: {line}");
        // Chromium greets on every start that there is no system bus; that is no cause of anything.
        if line.contains("dbus") {
            continue;
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == STDERR_LINES_MAX {
            tail.pop_front();
        }
        tail.push_back(line);
    }
}

/// First line of what a program says of its version.
pub(super) async fn version_line(mut program: Command, flag: &str) -> String {
    let output = program
        .arg(flag)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(LAUNCH_TIMEOUT, output).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_told_what_the_user_asked_for_and_nothing_else() {
        let mut settings = BrowserSettings::default();
        assert_eq!(flags_of(&settings), [] as [&str; 0]);
        settings.dark_mode = true;
        assert_eq!(flags_of(&settings), [] as [&str; 0], "the page is told");
        settings = BrowserSettings {
            user_agent: Some("a browser (of mine)".to_owned()),
            dark_mode: false,
            ignore_certificate_errors: true,
            disable_web_security: true,
        };
        assert_eq!(
            flags_of(&settings),
            [
                "--ignore-certificate-errors",
                "--disable-web-security",
                "--user-agent=a browser (of mine)"
            ]
        );
    }
}
