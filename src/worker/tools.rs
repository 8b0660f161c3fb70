//! The programs a worker needs: where they are, and what to do where they are not.
//!
//! On Lambda there is only what the package and the layers bring. Both have programs in `bin/`, libraries in `lib/` and fonts in
//! `fonts/`; `rmx package build` makes them so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;

use super::blocks::Blocks;
use super::connect::Guard;
use super::failure::{TaskResult, internal, permanent};
use super::packed::Program;
use super::scratch::Scratch;
use crate::env::{Env, Tool, is_program};
use crate::protocol::{FailureKind, PROCESSOR_MEMORY_MB, browsers};

/// Blocks of films that are kept: 256 MiB, half of the smallest disk that a function can have.
const BLOCKS_MAX: usize = 256;

/// The programs and folders of this worker.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) chromium: PathBuf,
    /// May still be on its way.
    pub(super) ffmpeg: Program,
    /// What programs find in their environment.
    environment: Vec<(&'static str, String)>,
    /// What the browser finds beside that: where its libraries and fonts are.
    browser_environment: Vec<(&'static str, String)>,
    /// For everything temporary: a folder in `TMPDIR`, else in `/tmp`.
    pub(super) scratch: PathBuf,
    /// Keeps that folder.
    _scratch: Option<Arc<Scratch>>,
    /// What may not be reached on behalf of a page.
    pub(super) guard: Guard,
    /// Threads for the encoder: the cores this function has. Their number shows in the bits of the video, so it must
    /// be one for all chunks of a render: they all run on one version of a function, with one memory size.
    pub(super) cores: u32,
    /// Browsers that draw at the same time: one for each whole processor.
    pub(super) browsers: u32,
    /// What was read of other servers' films, kept for all pages of this worker.
    pub(super) blocks: Blocks,
}

impl Tools {
    /// Those of a test that starts no browser: everything temporary goes into `folder`.
    #[cfg(test)]
    pub(super) fn without_browser(ffmpeg: PathBuf, folder: &Path, blocks_max: usize) -> Self {
        Self {
            environment: Vec::new(),
            browser_environment: Vec::new(),
            chromium: PathBuf::new(),
            ffmpeg: Program::there(ffmpeg),
            scratch: folder.to_owned(),
            _scratch: None,
            guard: Guard::default(),
            cores: 1,
            browsers: 1,
            blocks: Blocks::new(folder, blocks_max),
        }
    }

    /// Finds everything, or says what is missing and how to get it. What comes packed begins to be unpacked.
    pub(super) async fn find(env: &Env) -> TaskResult<Self> {
        let shared = PathBuf::from(env.variable("TMPDIR").unwrap_or("/tmp"));
        let scratch = Scratch::new(&shared)
            .map_err(|error| internal("making a folder for temporary files", error))?;
        let roots = roots(env);
        let there = |found| match found {
            Found::Program(path) => Program::there(path),
            Found::Packed(path) => Program::unpacking(path, scratch.path(), shared.clone()),
        };
        let chromium = find(env, Tool::Chromium, &roots).ok_or_else(|| {
            let message = format!(
                "starting the browser: {}. Install Debian's `chromium-headless-shell`, or set RMX_CHROMIUM to the \
                 path of a headless shell",
                missing(env, Tool::Chromium, "no headless Chromium was found")
            );
            permanent(FailureKind::Browser, message)
        })?;
        let ffmpeg = find(env, Tool::Ffmpeg, &roots).ok_or_else(|| {
            let message = format!(
                "starting the encoder: {}. Install the package `ffmpeg`, or set RMX_FFMPEG to its path",
                missing(env, Tool::Ffmpeg, "ffmpeg was not found")
            );
            permanent(FailureKind::Encoder, message)
        })?;
        let (chromium, ffmpeg) = (there(chromium), there(ffmpeg));
        // The first thing that is needed.
        let chromium = chromium.path().await?;
        let memory_mb = env.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        let memory_mb = memory_mb.and_then(|memory| memory.parse().ok());
        let folder = scratch.path();
        Ok(Self {
            environment: environment(env, &folder),
            browser_environment: browser_environment(env, &roots, &chromium),
            chromium,
            ffmpeg,
            blocks: Blocks::new(&folder, BLOCKS_MAX),
            scratch: folder,
            _scratch: Some(Arc::new(scratch)),
            guard: Guard::new(env.variable("AWS_LAMBDA_RUNTIME_API")),
            cores: cores(memory_mb),
            browsers: memory_mb.map_or(u32::MAX, browsers).min(cores(None)),
        })
    }
}

/// What programs are told of the worker's environment: where things are, and how to speak. A page or a media file decides
/// what they do, so they are not told the role's credentials, nor anything else.
const TOLD: &[&str] = &[
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "FONTCONFIG_FILE",
    "FONTCONFIG_PATH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_DATA_DIRS",
    // By this the embedded cloud knows the processes of an execution environment.
    "AWS_LAMBDA_LOG_STREAM_NAME",
];

/// The environment of programs; `scratch` is where they may write.
fn environment(env: &Env, scratch: &Path) -> Vec<(&'static str, String)> {
    let told = TOLD
        .iter()
        .filter_map(|name| Some((*name, env.variable(name)?.to_owned())));
    told.chain([("TMPDIR", scratch.display().to_string())])
        .collect()
}

/// ffmpeg's names of the containers that a film or a sound may have; the last one is ours, of decoded sound. What names other
/// files (playlists, manifests, lists) is none of them: ffmpeg would fetch these by itself, whatever and wherever they are.
const CONTAINERS: &str = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,gif,apng,ivf,mxf,nut,dv,yuv4mpegpipe,\
    h264,hevc,obu,av1,m4v,mjpeg,wav,w64,aiff,caf,au,mp3,aac,flac,ac3,eac3,dts,truehd,amr,amrnb,amrwb,wv,ape,tta,s16le";

/// ffmpeg reads the file that it is given.
pub(super) const LOCAL_ONLY: [&str; 4] = [
    "-protocol_whitelist",
    "file,crypto,data",
    "-format_whitelist",
    CONTAINERS,
];

/// ffmpeg reads what the page's server has at the address that it is given.
pub(super) const SERVED_ONLY: [&str; 4] = [
    "-protocol_whitelist",
    "http,tcp",
    "-format_whitelist",
    CONTAINERS,
];

/// What ffmpeg says of a file in another container.
pub(super) const NO_CONTAINER: &str = "not on whitelist";

impl Tools {
    /// ffmpeg, without arguments yet. Waits until it is there.
    ///
    /// # Errors
    /// It could not be unpacked.
    pub(super) async fn ffmpeg_command(&self) -> TaskResult<Command> {
        let ffmpeg = self.ffmpeg.path().await?;
        Ok(self.command(&ffmpeg))
    }

    /// The browser, without arguments yet.
    pub(super) fn browser_command(&self) -> Command {
        let mut command = self.command(&self.chromium);
        command.envs(self.browser_environment.iter().cloned());
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment.iter().cloned());
        command
    }
}

/// Where Lambda unpacks layers.
const LAYERS: &str = "/opt";

/// The folders that bring programs: the worker's own package, then the layers.
fn roots(env: &Env) -> Vec<PathBuf> {
    let package = env.executable.parent().map(Path::to_owned);
    package.into_iter().chain([PathBuf::from(LAYERS)]).collect()
}

/// What is found of a tool.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Program(PathBuf),
    /// It has to be unpacked.
    Packed(PathBuf),
}

/// What the tool's variable names; else what is in `bin/` of one of `roots`, as it is or packed; else what is in `PATH`.
fn find(env: &Env, tool: Tool, roots: &[PathBuf]) -> Option<Found> {
    if env.variable(tool.variable()).is_none() {
        for root in roots {
            for name in tool.names() {
                let path = root.join("bin").join(name);
                if is_program(&path) {
                    return Some(Found::Program(path));
                }
                let packed = path.with_extension("gz");
                if packed.is_file() {
                    return Some(Found::Packed(packed));
                }
            }
        }
    }
    env.find_tool(tool).map(Found::Program)
}

/// A browser out of a package brings libraries, which Lambda looks for in `lib/` by itself and other systems do not, and finds no
/// fonts but those of the package.
fn browser_environment(
    env: &Env,
    roots: &[PathBuf],
    chromium: &Path,
) -> Vec<(&'static str, String)> {
    const LIBRARIES: &str = "LD_LIBRARY_PATH";
    const FONTS: &str = "FONTCONFIG_FILE";
    let mut environment = Vec::new();
    if !roots
        .iter()
        .any(|root| chromium.starts_with(root.join("bin")))
    {
        return environment;
    }
    let folders = roots.iter().map(|root| root.join("lib"));
    let mut folders: Vec<String> = folders
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.display().to_string())
        .collect();
    if !folders.is_empty() {
        folders.extend(env.variable(LIBRARIES).map(str::to_owned));
        environment.push((LIBRARIES, folders.join(":")));
    }
    let mut settings = roots.iter().map(|root| root.join("fonts/fonts.conf"));
    let given = env.variable(FONTS).is_some() || env.variable("FONTCONFIG_PATH").is_some();
    if let Some(settings) = settings.find(|path| path.is_file()).filter(|_| !given) {
        environment.push((FONTS, settings.display().to_string()));
    }
    environment
}

fn missing(env: &Env, tool: Tool, otherwise: &str) -> String {
    match env.variable(tool.variable()) {
        Some(given) => format!("{} is {given}, which is no program", tool.variable()),
        None => otherwise.to_owned(),
    }
}

/// Processors of a function with so much memory, a part of one counted whole. Everywhere else: what the machine has.
fn cores(memory_mb: Option<u32>) -> u32 {
    let machine =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    match memory_mb {
        Some(memory_mb) => memory_mb.div_ceil(PROCESSOR_MEMORY_MB).clamp(1, machine),
        None => machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(executable: &Path, variables: &[(&str, &str)]) -> Env {
        let variables = variables.iter();
        Env {
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            working_directory: "/".into(),
            executable: executable.to_owned(),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
        }
    }

    fn write(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_the_package_brings_goes_before_layers_and_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let env = env(
            &at("task/bootstrap"),
            &[("PATH", at("path").to_str().unwrap())],
        );
        assert_eq!(roots(&env), [at("task"), "/opt".into()]);
        let roots = [at("task"), at("opt")];
        let found = |tool| find(&env, tool, &roots);
        assert_eq!(found(Tool::Chromium), None);
        for place in [
            "path/headless_shell",
            "opt/bin/headless_shell",
            "task/bin/headless_shell",
        ] {
            write(&at(place), 0o755);
            assert_eq!(found(Tool::Chromium), Some(Found::Program(at(place))));
        }
        // What nobody may run is no program.
        write(&at("opt/bin/ffmpeg"), 0o644);
        assert_eq!(found(Tool::Ffmpeg), None);
        write(&at("task/bin/ffmpeg.gz"), 0o644);
        let packed = Found::Packed(at("task/bin/ffmpeg.gz"));
        assert_eq!(found(Tool::Ffmpeg), Some(packed));
    }

    #[test]
    fn a_packaged_browser_is_told_where_its_libraries_and_fonts_are() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let plain = env(&at("task/bootstrap"), &[]);
        let roots = [at("task"), at("opt")];
        let chromium = at("opt/bin/headless_shell");
        assert!(browser_environment(&plain, &roots, &chromium).is_empty());
        write(&at("task/fonts/fonts.conf"), 0o644);
        write(&at("opt/lib/libnss3.so"), 0o644);
        let libraries = at("opt/lib").display().to_string();
        let fonts = at("task/fonts/fonts.conf").display().to_string();
        assert_eq!(
            browser_environment(&plain, &roots, &chromium),
            [
                ("LD_LIBRARY_PATH", libraries.clone()),
                ("FONTCONFIG_FILE", fonts)
            ]
        );
        let own = env(
            &at("task/bootstrap"),
            &[
                ("FONTCONFIG_PATH", "/etc/fonts"),
                ("LD_LIBRARY_PATH", "/usr/lib"),
            ],
        );
        assert_eq!(
            browser_environment(&own, &roots, &chromium),
            [("LD_LIBRARY_PATH", format!("{libraries}:/usr/lib"))]
        );
        // The machine's own browser has the machine's own fonts.
        let installed = Path::new("/usr/bin/chromium-headless-shell");
        assert!(browser_environment(&plain, &roots, installed).is_empty());
    }

    #[tokio::test]
    async fn programs_are_not_told_what_is_the_workers_own() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        write(&program, 0o755);
        std::fs::write(&program, "#!/bin/sh\nexec env\n").unwrap();
        let program = program.to_str().unwrap();
        let env = env(
            &folder.path().join("bootstrap"),
            &[
                ("PATH", "/usr/bin:/bin"),
                ("TZ", ":UTC"),
                ("TMPDIR", folder.path().to_str().unwrap()),
                ("RMX_CHROMIUM", program),
                ("RMX_FFMPEG", program),
                ("AWS_ACCESS_KEY_ID", "secret"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_SESSION_TOKEN", "secret"),
                ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
                ("MY_TOKEN", "secret"),
                ("http_proxy", "http://127.0.0.1:1"),
            ],
        );
        let tools = Tools::find(&env).await.unwrap();
        let ffmpeg = tools.ffmpeg_command().await.unwrap();
        for mut command in [tools.browser_command(), ffmpeg] {
            let output = command.output().await.unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            let names: std::collections::BTreeSet<_> = told
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, _)| name)
                // Those of the shell itself.
                .filter(|name| !["PWD", "SHLVL", "_"].contains(name))
                .collect();
            assert_eq!(names, ["PATH", "TMPDIR", "TZ"].into(), "{told}");
        }
    }

    #[test]
    fn cores_follow_the_memory_of_the_function() {
        let machine = cores(None);
        assert_eq!(cores(Some(512)), 1);
        assert_eq!(cores(Some(1769)), 1);
        assert_eq!(cores(Some(2048)), 2.min(machine));
        assert_eq!(cores(Some(10240)), 6.min(machine));
        assert_eq!(
            [512, 2048, 3537, 3538, 10240].map(browsers),
            [1, 1, 1, 2, 5]
        );
    }
}
