//! The same farm planned, applied, changed, drifted and destroyed on clouds that others wrote, ministack and moto, and on
//! the embedded one through `rmx local serve`: always `target = "aws"`, the same commands, the same expectations.
//!
//! None of these is AWS. Where they are known to differ from it in calls that rmx makes (ministack 1.5.33, moto 5.2.5):
//!
//! - moto knows no GetAccountSettings (404), publishes a new version although nothing changed, and does not apply an update
//!   of a function's ephemeral storage; ministack and moto refuse no update that overlaps with another one. rmx asks for
//!   the settings only when a zip is too large for a request, and never updates twice at once, so no step here meets that.
//! - moto takes any `RevisionId`, and neither compares the entity tag of a conditional delete: what AWS refuses because somebody
//!   else was faster is tested against the embedded cloud (`tests/it/intruder.rs`). rmx's looks before each write hold here too.
//! - A new bucket of either has no public access block, and one of moto no ownership controls; AWS's buckets have both.
//!   rmx sets what the configuration says in any case.
//! - ministack takes a role that does not exist, and memory below AWS's limit: that rmx checks both is tested elsewhere.
//!
//! Where an emulator is not installed its test says so and passes; `scripts/test` installs both.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rmx::env::Env;
use tempfile::TempDir;

use crate::{Serve, aws};

/// An emulator must answer so soon after its start.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// No command may run longer than this.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);

/// A process that ends with this value.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `program` (beside `RMX_TEST_EMULATORS/python`), and returns it with its address.
fn start(
    program: &str,
    health: &str,
    prepare: impl FnOnce(&mut Command, u16),
) -> Option<(Emulator, String)> {
    let surroundings = Env::read().unwrap();
    let Some(folder) = surroundings.variable("RMX_TEST_EMULATORS") else {
        println!("skipped: RMX_TEST_EMULATORS does not name a folder with `{program}`");
        return None;
    };
    // Free a moment ago. If somebody takes it before the emulator does, the emulator ends and the test fails.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut command = Command::new(Path::new(folder).join(program));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    prepare(&mut command, port);
    let mut emulator = Emulator(command.spawn().unwrap());
    let address = format!("http://127.0.0.1:{port}");
    let started = std::time::Instant::now();
    while status_of(port, health) != Some(200) {
        assert!(emulator.0.try_wait().unwrap().is_none(), "{program} ended");
        assert!(
            started.elapsed() < START_TIME_MAX,
            "{program} does not answer"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Some((emulator, address))
}

/// The status of a GET, if anybody answers.
fn status_of(port: u16, path: &str) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// A project whose function is a script of its own, so that its code can be changed.
struct Project {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

const CONFIG: &str = r#"
project = "clouds"
target = "aws"
region = "us-east-1"

[function]
architecture = "x86_64"
package = "package"

[[site]]
name = "page"
folder = "page"
"#;

impl Project {
    fn new(variables: Vec<(String, String)>) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
            variables,
        };
        project.write("remotion.toml", CONFIG);
        project.write("package/bootstrap", "#!/bin/sh\necho one\n");
        project.write("page/index.html", "<h1>one</h1>");
        project.write("page/a.js", "1");
        project
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, program: &Path) -> assert_cmd::Command {
        let surroundings = Env::read().unwrap();
        let mut command = assert_cmd::Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &surroundings.variables["PATH"])
            .env("HOME", self.folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .timeout(COMMAND_TIME_MAX);
        command
    }

    /// Runs `rmx`, which must end with `code`; returns what it printed.
    fn rmx(&self, arguments: &[&str], code: i32) -> String {
        let rmx = Path::new(env!("CARGO_BIN_EXE_rmx"));
        let output = self.command(rmx).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}\n{printed}\n{said}"
        );
        printed
    }

    /// Plans, which must show `expected`; applies; and nothing is left to do.
    fn apply(&self, expected: &str) {
        let plan = self.rmx(&["plan", "--detailed-exitcode"], 2);
        assert!(plan.contains(expected), "no {expected:?} in\n{plan}");
        self.rmx(&["apply", "--auto-approve"], 0);
        let rest = self.rmx(&["plan", "--detailed-exitcode"], 0);
        assert!(rest.contains("No changes."), "{rest}");
    }

    /// Starts `rmx`, and ends it as a power failure would.
    fn start_and_kill(&self, arguments: &[&str], after: Duration) {
        let surroundings = Env::read().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rmx"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &surroundings.variables["PATH"])
            .env("HOME", self.folder.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The bucket's name, as the state has it.
    fn bucket(&self) -> String {
        let shown = self.rmx(&["show", "--json"], 0);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let mut resources = shown["values"]["root_module"]["resources"]
            .as_array()
            .unwrap()
            .iter();
        let bucket = resources.find(|resource| resource["address"] == "bucket.main");
        bucket.unwrap()["values"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Writes an object behind rmx's back.
    fn put(&self, key: &str, text: &str) {
        self.write("theirs", text);
        let bucket = self.bucket();
        self.aws(&[
            "s3api",
            "put-object",
            "--bucket",
            &bucket,
            "--key",
            key,
            "--body",
            "theirs",
        ]);
    }

    /// Changes the cloud behind rmx's back with the `aws` command.
    fn aws(&self, arguments: &[&str]) {
        let surroundings = Env::read().unwrap();
        let output = self
            .command(&aws(&surroundings))
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

/// From nothing to nothing.
fn a_farm_comes_changes_and_goes(variables: Vec<(String, String)>) {
    let project = Project::new(variables);
    project.apply("Plan: 5 to add, 0 to change, 0 to destroy.");

    project.write(
        "remotion.toml",
        &CONFIG.replace("[function]", "[function]\nmemory_mb = 3008"),
    );
    project.apply("memory_mb");
    project.write("package/bootstrap", "#!/bin/sh\necho two\n");
    project.apply("code_sha256");
    project.write("page/index.html", "<h1>two</h1>");
    std::fs::remove_file(project.folder.path().join("page/a.js")).unwrap();
    project.apply("# site.page will be updated in-place");

    project.aws(&[
        "logs",
        "delete-log-group",
        "--log-group-name",
        "/aws/lambda/rmx-clouds",
    ]);
    project.apply("# log_group.main has been deleted");
    let memory = ["--function-name", "rmx-clouds", "--timeout", "7"];
    project.aws(&[&["lambda", "update-function-configuration"], &memory[..]].concat());
    project.apply("# function.worker has changed");

    drift_of_everything_else(&project);

    // What moved makes a saved plan stale.
    project.write("page/index.html", "<h1>three</h1>");
    project.rmx(&["plan", "--out", "plan.rmx"], 0);
    project.put("sites/page/index.html", "<h1>not three</h1>");
    project.rmx(&["apply", "plan.rmx"], 10);
    project.apply("# site.page will be updated in-place");

    // A name of its own for the bucket: another bucket, and the site in it.
    let renamed = format!("{CONFIG}[bucket]\nname = \"rmx-clouds-renamed\"\n");
    project.write("remotion.toml", &renamed);
    project.apply("# bucket.main must be replaced");
    project.write("remotion.toml", CONFIG);
    project.apply("# bucket.main must be replaced");

    let without_site = CONFIG.split("[[site]]").next().unwrap();
    project.write("remotion.toml", without_site);
    project.apply("# site.page will be destroyed");
    project.write("remotion.toml", CONFIG);
    project.apply("# site.page will be created");

    project.rmx(&["plan", "--destroy", "--out", "plan.rmx"], 0);
    project.rmx(&["apply", "plan.rmx"], 0);
    let left = project.rmx(&["plan", "--destroy", "--detailed-exitcode"], 0);
    assert!(left.contains("No objects need to be destroyed."), "{left}");
    // Whatever a kill leaves behind, the next apply finishes.
    project.start_and_kill(&["apply", "--auto-approve"], Duration::from_millis(700));
    project.rmx(&["apply", "--auto-approve"], 0);
    project.rmx(&["plan", "--detailed-exitcode"], 0);
    project.rmx(&["destroy", "--auto-approve"], 0);
}

/// Somebody changes the role, the bucket and the site.
fn drift_of_everything_else(project: &Project) {
    let policy =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
    project.aws(&[
        "iam",
        "put-role-policy",
        "--role-name",
        "rmx-clouds-us-east-1",
        "--policy-name",
        "rmx",
        "--policy-document",
        policy,
    ]);
    let bucket = project.bucket();
    project.aws(&["s3api", "delete-public-access-block", "--bucket", &bucket]);
    project.put("sites/page/index.html", "<h1>spoiled</h1>");
    project.put("sites/page/more.js", "more");
    let plan = project.rmx(&["plan"], 0);
    for line in [
        "# role.main has changed",
        "# bucket.main has changed",
        "# site.page has changed",
    ] {
        assert!(plan.contains(line), "no {line:?} in\n{plan}");
    }
    project.apply("Plan: 0 to add, 3 to change, 0 to destroy.");
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn credentials(address: &str) -> Vec<(String, String)> {
    pairs(&[
        ("AWS_ENDPOINT_URL", address),
        ("AWS_ACCESS_KEY_ID", "111111111111"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ])
}

#[test]
fn a_farm_on_ministack() {
    let started = start("ministack", "/_ministack/health", |command, port| {
        command
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string());
    });
    if let Some((_emulator, address)) = started {
        a_farm_comes_changes_and_goes(credentials(&address));
    }
}

#[test]
fn a_farm_on_moto() {
    let started = start("moto_server", "/moto-api/", |command, port| {
        command
            .args(["-H", "127.0.0.1", "-p"])
            .arg(port.to_string());
    });
    if let Some((_emulator, address)) = started {
        a_farm_comes_changes_and_goes(credentials(&address));
    }
}

#[test]
fn a_farm_on_the_embedded_cloud_as_if_it_were_aws() {
    let surroundings = Env::read().unwrap();
    if aws(&surroundings).as_os_str().is_empty() {
        println!("skipped: there is no `aws` command; scripts/test installs it");
        return;
    }
    let serve = Serve::start(&surroundings);
    a_farm_comes_changes_and_goes(serve.variables.clone().into_iter().collect());
    serve.stop();
}
