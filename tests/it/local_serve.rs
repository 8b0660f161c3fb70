//! `rmx local serve`: where it listens, what it says, how it ends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use crate::support::{TestProject, eventually};

/// A running `rmx local serve`, killed when dropped.
pub(crate) struct Serve(Child);

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Serve {
    /// Starts it on a free port, waits for its first lines and gives the address back.
    pub(crate) fn start(project: &TestProject) -> (Self, String) {
        let rmx = &mut Command::new(env!("CARGO_BIN_EXE_rmx"));
        let (serve, variables) = Self::by(rmx, project);
        assert_eq!(variables["AWS_REGION"], variables["AWS_DEFAULT_REGION"]);
        assert_eq!(variables["AWS_ACCESS_KEY_ID"].len(), 20);
        assert_eq!(variables["AWS_SECRET_ACCESS_KEY"].len(), 40);
        let address = variables["AWS_ENDPOINT_URL"].strip_prefix("http://");
        (serve, address.unwrap().to_owned())
    }

    /// The same by a command that wants nothing but arguments of `rmx`; what clients are told to set.
    pub(crate) fn by(rmx: &mut Command, project: &TestProject) -> (Self, BTreeMap<String, String>) {
        let mut child = rmx
            .args(["-C", project.path().to_str().unwrap()])
            .args(["local", "serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let serve = Self(child);
        let exports = lines.by_ref().take(5).map(Result::unwrap);
        let variables = exports.map(|line| {
            let variable = line
                .strip_prefix("export ")
                .and_then(|rest| rest.split_once('='));
            let (name, value) = variable.unwrap_or_else(|| panic!("{line} sets no variable"));
            (name.to_owned(), value.to_owned())
        });
        (serve, variables.collect())
    }
}

#[test]
fn only_loopback_and_only_addresses_are_taken() {
    let project = TestProject::new();
    for (address, says) in [
        ("0.0.0.0:0", "not a loopback address"),
        ("[::]:0", "not a loopback address"),
        ("192.0.2.1:0", "not a loopback address"),
        ("example.com:80", "not an IP address"),
        ("4566", "not an IP address"),
    ] {
        let output = project
            .rmx(&["local", "serve", "--listen", address])
            .expect_status(64);
        assert!(output.stderr.contains(says), "{address}: {output}");
    }
    assert!(!project.path().join(".rmx").exists(), "nothing is made");
}

#[test]
fn a_broken_configuration_is_told() {
    let project = TestProject::new();
    project.write("remotion.toml", "colour = \"red\"\n");
    let output = project
        .rmx(&["local", "serve", "--listen", "127.0.0.1:0"])
        .expect_status(1);
    assert!(output.stderr.contains("colour"), "{output}");
}

#[test]
fn it_serves_until_it_is_asked_to_stop() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let project = TestProject::new();
        let (mut serve, address) = Serve::start(&project);
        std::net::TcpStream::connect(&address).unwrap();
        assert!(project.path().join(".rmx/local").is_dir());

        let second = project
            .rmx(&["local", "serve", "--listen", &address])
            .expect_status(1);
        assert!(
            second.stderr.contains("pass --listen 127.0.0.1:0"),
            "{second}"
        );

        let pid = rustix::process::Pid::from_raw(i32::try_from(serve.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        let status = eventually(|| serve.0.try_wait().unwrap());
        let mut said = String::new();
        serve
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(
            said.contains(&format!("ready at http://{address}")),
            "{said}"
        );
        std::net::TcpStream::connect(&address).unwrap_err();
    }
}
