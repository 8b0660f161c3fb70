//! `rmx package` with small stand-ins for what registries carry: no network, no Chromium. The real package is built and rendered
//! with in `tests/e2e`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rmx::digest::Digest;
use serde_json::Value;

use crate::support::{Output, TestProject};

/// A gzip'd tar of `files`, written at the time `modified_s`.
fn tgz(files: &[(&str, &str, u32)], modified_s: u64) -> Vec<u8> {
    let packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(packing);
    for (name, text, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(modified_s);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn worker(project: &TestProject) -> PathBuf {
    project.write("worker", "#!/bin/sh\n")
}

/// The first bytes of a program for arm64.
fn arm64_program() -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(18, 0);
    program.extend([0xb7, 0]);
    program
}

fn component(name: &str, source: &str, files: &str) -> String {
    format!(
        "[component.{name}]\nlicence = \"MIT\"\nhome = \"https://example.org/{name}\"\nsource{source}\nfiles = [{files}]\n"
    )
}

fn recipe(components: &[String]) -> String {
    let worker = component(
        "worker",
        " = \"worker\"",
        "{ to = \"bootstrap\", executable = true }",
    );
    format!("architecture = \"x86_64\"\n{worker}{}", components.concat())
}

/// A program that stands in for a registry's client, before all others in `PATH`.
fn client(project: &mut TestProject, name: &str, script: &str) {
    let path = project.write(
        &format!("clients/{name}"),
        &format!("#!/bin/sh\n{script}\n"),
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = path.parent().unwrap().display().to_string();
    let others = rmx::env::Env::read().unwrap().variables["PATH"].clone();
    project.set_variable("PATH", &format!("{folder}:{others}"));
}

fn build(project: &TestProject, more: &[&str]) -> Output {
    let arguments = ["package", "build", "recipe.toml", "--worker", "worker"];
    project.rmx(&[&arguments, more].concat())
}

fn built(project: &TestProject, more: &[&str]) {
    let output = build(project, more);
    assert_eq!(output.status, Some(0), "{output}");
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap()
}

fn cache(project: &TestProject) -> PathBuf {
    project.path().join(".cache/rmx/components")
}

fn files_of(folder: &Path) -> Vec<String> {
    let tree = rmx::bundle::Tree::read(folder).unwrap();
    tree.entries
        .iter()
        .map(|(path, entry)| format!("{path}{}", if entry.executable { " x" } else { "" }))
        .collect()
}

#[test]
fn a_package_holds_what_its_recipe_says() {
    let project = TestProject::new();
    worker(&project);
    let inner = tgz(
        &[
            ("lib/libone.so", "one", 0o755),
            ("lib/two.txt", "two", 0o644),
        ],
        0,
    );
    let outer = tgz(
        &[
            ("package/bin/tool", "tool", 0o644),
            ("package/unwanted", "-", 0o644),
        ],
        0,
    );
    std::fs::write(project.path().join("outer.tgz"), outer).unwrap();
    std::fs::write(project.path().join("inner.tgz"), inner).unwrap();
    project.write("fonts/deep/a.ttf", "font");
    project.write(
        "recipe.toml",
        &recipe(&[
            component(
                "tool",
                ".file = \"outer.tgz\"",
                "{ from = \"package/bin/tool\", to = \"bin/tool.gz\" }",
            ),
            component(
                "libraries",
                ".file = \"inner.tgz\"",
                "{ from = \"lib/\", to = \"lib/\" }",
            ),
            component(
                "fonts",
                ".folder = \"fonts\"",
                "{ from = \"deep/\", to = \"fonts/\" }",
            ),
            component(
                "settings",
                ".text = \"<conf/>\"",
                "{ to = \"fonts/fonts.conf\" }",
            ),
            format!(
                "{}optional = true\n",
                component("extra", ".text = \"extra\"", "{ to = \"extra.txt\" }")
            ),
        ]),
    );
    let document = json(&build(&project, &["--json"]).expect_status(0));
    let package = project.path().join("package-x86_64");
    let expected = [
        "NOTICE",
        "bin/tool.gz",
        "bootstrap x",
        "fonts/a.ttf",
        "fonts/fonts.conf",
        "lib/libone.so x",
        "lib/two.txt",
        "rmx-package.json",
    ];
    assert_eq!(files_of(&package), expected);
    let packed = std::fs::File::open(package.join("bin/tool.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "tool");
    let notice = std::fs::read_to_string(package.join("NOTICE")).unwrap();
    assert!(notice.contains("https://example.org/fonts"), "{notice}");
    let shown = json(
        &project
            .rmx(&["package", "show", "package-x86_64", "--json"])
            .expect_status(0),
    );
    assert_eq!(shown, document);
    assert_eq!(document["components"].as_array().unwrap().len(), 5);
    let verified = project.rmx(&["package", "verify", "package-x86_64"]);
    assert!(verified.expect_status(0).stdout.starts_with("Success!"));

    // What is built again takes the place of what was there.
    built(&project, &["--with", "extra", "--without", "libraries"]);
    assert!(package.join("extra.txt").exists() && !package.join("lib").exists());
    built(&project, &["--only", "fonts", "--out", "layer"]);
    assert_eq!(
        files_of(&project.path().join("layer")),
        ["NOTICE", "fonts/a.ttf", "rmx-package.json"]
    );
    let unknown = build(&project, &["--with", "emoji"]).expect_status(1);
    assert!(unknown.stderr.contains("no component `emoji`"), "{unknown}");
}

#[test]
fn the_same_components_are_the_same_zip_wherever_they_are_built() {
    let digest = |mode: u32, mask: &str, at: u64| {
        let project = TestProject::new();
        let path = worker(&project);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        project.write("text.txt", &"words ".repeat(1000));
        project.write(
            "recipe.toml",
            &recipe(&[component(
                "text",
                ".file = \"text.txt\"",
                "{ to = \"text.gz\" }",
            )]),
        );
        let command = project.command(&[
            "package",
            "build",
            "recipe.toml",
            "--worker",
            "worker",
            "--json",
        ]);
        let mut masked = std::process::Command::new("/bin/sh");
        masked
            .args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(project.path())
            .env("HOME", project.path());
        let output = masked.output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["zip"]["sha256"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        digest(0o644, "022", 1_000_000_000),
        digest(0o700, "077", 1_700_000_000)
    );
}

#[test]
fn a_component_is_fetched_once_and_checked() {
    let mut project = TestProject::new();
    worker(&project);
    let archive = tgz(&[("package/a.txt", "a", 0o644)], 7);
    std::fs::write(project.path().join("a.tgz"), &archive).unwrap();
    let digest = Digest::of(&archive);
    let npm = |sha256: Digest| {
        recipe(&[format!(
            "{}sha256 = \"{sha256}\"\n",
            component(
                "a",
                ".npm = \"@scope/a@1.0.0\"",
                "{ from = \"package/a.txt\", to = \"a.txt\" }"
            )
        )])
    };
    project.write("recipe.toml", &npm(digest));
    let offline = build(&project, &["--offline"]).expect_status(1);
    assert!(offline.stderr.contains("--offline forbids"), "{offline}");

    let (log, from) = (project.path().join("log"), project.path().join("a.tgz"));
    let script = format!(
        "echo \"$@\" >> {}\ncp {} scope-a-1.0.0.tgz",
        log.display(),
        from.display()
    );
    client(&mut project, "npm", &script);
    built(&project, &[]);
    assert_eq!(
        project.read("log"),
        "pack --loglevel=error @scope/a@1.0.0\n"
    );
    assert_eq!(project.read("package-x86_64/a.txt"), "a");
    // From now on the network is not needed.
    client(&mut project, "npm", "echo no network >&2; exit 1");
    built(&project, &["--offline"]);
    // A file of the cache that was spoiled is not used.
    std::fs::write(cache(&project).join(digest.to_string()), "spoiled").unwrap();
    let failed = build(&project, &[]).expect_status(1);
    assert!(failed.stderr.contains("no network"), "{failed}");
    client(&mut project, "npm", &script);
    built(&project, &[]);

    // Something else than the recipe asks for: nothing is built, and what is in the cache stays.
    project.write("recipe.toml", &npm(Digest::of("another")));
    let wrong = build(&project, &[]).expect_status(1);
    assert!(
        wrong.stderr.contains(&format!("has the SHA-256 {digest}")),
        "{wrong}"
    );
    let kept = std::fs::read_dir(cache(&project)).unwrap();
    let kept = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept: Vec<String> = kept.filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(kept, [digest.to_string()]);
    assert_eq!(project.read("package-x86_64/a.txt"), "a");
}

#[test]
fn a_client_that_is_missing_is_named() {
    let mut project = TestProject::new();
    worker(&project);
    project.set_variable("PATH", "/does/not/exist");
    for (source, hint) in [
        (".npm = \"a@1.0.0\"", "install Node.js"),
        (".pypi = \"a==1.0.0\"", "install Python's pip"),
        (".debian = \"a=1.0.0\"", "build on Debian"),
        (".file = \"a.deb\"", "build on Debian"),
        (".url = \"https://example.org/a.tar\"", "install curl"),
    ] {
        let text = component("a", source, "{ from = \"a\", to = \"a\" }");
        project.write("a.deb", "a");
        let digest = Digest::of("a");
        project.write(
            "recipe.toml",
            &recipe(&[format!("{text}sha256 = \"{digest}\"\n")]),
        );
        let output = build(&project, &[]).expect_status(1);
        assert!(
            output.stderr.contains("which is not on this machine"),
            "{output}"
        );
        assert!(output.stderr.contains(hint), "{output}");
    }
}

/// Serves `content` to one connection after the other, as far as `lengths` says, and gives back the requests.
fn serve(listener: TcpListener, content: Vec<u8>, lengths: &[usize]) -> Vec<String> {
    let mut requests = Vec::new();
    for length in lengths {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut buffer) = (String::new(), [0; 1024]);
        while !request.ends_with("\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            request += std::str::from_utf8(&buffer[..count]).unwrap();
        }
        let range = request.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("range: bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
        let first: usize = range.unwrap_or(0);
        let all = content.len();
        let head = match range {
            Some(first) => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{all}\r\n",
                all - 1
            ),
            None => "HTTP/1.1 200 OK\r\n".to_owned(),
        };
        let head = format!(
            "{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
            all - first
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
            .write_all(&content[first..all.min(first + length)])
            .unwrap();
        requests.push(request);
    }
    requests
}

/// Writes a recipe whose one component, an archive of `a.txt`, comes from an address; returns who is asked for it.
fn recipe_by_url(project: &TestProject, content: &[u8]) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.tar.gz", listener.local_addr().unwrap());
    let digest = Digest::of(content);
    let source = component(
        "a",
        &format!(".url = \"{url}\""),
        "{ from = \"a.txt\", to = \"a.txt\" }",
    );
    project.write(
        "recipe.toml",
        &recipe(&[format!("{source}sha256 = \"{digest}\"\n")]),
    );
    listener
}

#[test]
fn two_builds_at_once_download_once() {
    let project = TestProject::new();
    worker(&project);
    let content = tgz(&[("a.txt", "a", 0o644)], 0);
    let listener = recipe_by_url(&project, &content);
    std::thread::scope(|scope| {
        let builds = ["one", "two"].map(|name| {
            let project = &project;
            scope.spawn(move || build(project, &["--out", name]))
        });
        let (mut stream, rest) = half_served(&listener, &content);
        // The other one has time to come as well.
        std::thread::sleep(std::time::Duration::from_secs(2));
        stream.write_all(rest).unwrap();
        for build in builds {
            let output = build.join().unwrap();
            assert_eq!(output.status, Some(0), "{output}");
        }
    });
    for name in ["one", "two"] {
        assert_eq!(project.read(&format!("{name}/a.txt")), "a");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it was asked for twice");
}

#[test]
fn a_download_that_was_cut_off_goes_on() {
    let project = TestProject::new();
    worker(&project);
    let text = "0123456789".repeat(10_000);
    let content = tgz(&[("a.txt", &text, 0o644)], 0);
    let listener = recipe_by_url(&project, &content);
    let half = content.len() / 2;
    let server = std::thread::spawn(move || serve(listener, content, &[half, usize::MAX >> 1]));
    let cut = build(&project, &[]).expect_status(1);
    assert!(cut.stderr.contains("`curl "), "{cut}");
    assert!(!project.path().join("package-x86_64").exists());
    built(&project, &[]);
    let requests = server.join().unwrap();
    let range = format!("range: bytes={half}-");
    assert!(
        requests[1].to_ascii_lowercase().contains(&range),
        "{requests:?}"
    );
    assert_eq!(project.read("package-x86_64/a.txt"), text);
}

#[test]
fn what_cannot_be_built_is_told_and_what_was_there_stays() {
    let project = TestProject::new();
    worker(&project);
    let cases = [
        ("{ from = \"b\", to = \"b\" }", "holds no `b`"),
        (
            "{ from = \"a\", to = \"bootstrap\" }",
            "writes `bootstrap`, which is there already",
        ),
    ];
    let archive = tgz(&[("a", "a", 0o644)], 0);
    std::fs::write(project.path().join("a.tgz"), archive).unwrap();
    for (files, expected) in cases {
        project.write(
            "recipe.toml",
            &recipe(&[component("z", ".file = \"a.tgz\"", files)]),
        );
        let output = build(&project, &[]).expect_status(1);
        assert!(output.stderr.contains(expected), "{output}");
    }
    let text = component("z", ".file = \"a.tgz\"", "{ from = \"a\", to = \"a\" }");
    let digest = Digest::of("another");
    project.write(
        "recipe.toml",
        &recipe(&[format!("{text}sha256 = \"{digest}\"\n")]),
    );
    let other = build(&project, &[]).expect_status(1);
    assert!(
        other.stderr.contains(&format!("asks for {digest}")),
        "{other}"
    );
    project.write("a.tgz", "no archive");
    project.write(
        "recipe.toml",
        &recipe(&[component(
            "z",
            ".file = \"a.tgz\"",
            "{ from = \"a\", to = \"a\" }",
        )]),
    );
    let broken = build(&project, &[]).expect_status(1);
    assert!(broken.stderr.contains("cannot unpack"), "{broken}");
    assert!(!project.path().join("package-x86_64").exists());
    // Nothing is left beside it either.
    let hidden = std::fs::read_dir(project.path()).unwrap().flatten();
    let hidden = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with(".rmx-"));
    assert_eq!(hidden.count(), 0);

    project.write("recipe.toml", &recipe(&[]));
    project.write("package-x86_64/mine.txt", "mine");
    let in_the_way = build(&project, &[]).expect_status(1);
    assert!(
        in_the_way.stderr.contains("is no function package of rmx"),
        "{in_the_way}"
    );
    assert_eq!(project.read("package-x86_64/mine.txt"), "mine");
    let missing = project.rmx(&[
        "package",
        "build",
        "recipe.toml",
        "--worker",
        "none",
        "--out",
        "p",
    ]);
    let missing = missing.expect_status(1);
    assert!(missing.stderr.contains("scripts/build-worker"), "{missing}");
    let none = project
        .rmx(&["package", "show", "package-x86_64"])
        .expect_status(1);
    assert!(none.stderr.contains("did not make it"), "{none}");
    assert!(
        none.stderr.contains("Cannot show the function package"),
        "{none}"
    );
    let none = project
        .rmx(&["package", "verify", "package-x86_64"])
        .expect_status(1);
    assert!(
        none.stderr.contains("Cannot verify the function package"),
        "{none}"
    );
}

#[test]
fn a_package_for_another_machine_is_refused() {
    let project = TestProject::new();
    project.write("recipe.toml", &recipe(&[]));
    worker(&project);
    built(&project, &[]);
    let package = project.path().join("package-x86_64");
    let there = std::fs::read(package.join("rmx-package.json")).unwrap();
    std::fs::write(project.path().join("worker"), arm64_program()).unwrap();
    let output = build(&project, &[]).expect_status(1);
    for told in [
        "The worker is for arm64, the recipe for x86_64",
        "`scripts/build-worker x86_64`",
        "a package for arm64",
    ] {
        assert!(
            output.stderr.contains(told),
            "{told} is missing in\n{output}"
        );
    }
    worker(&project);
    std::fs::write(project.path().join("tool"), arm64_program()).unwrap();
    let tool = component("tool", ".file = \"tool\"", "{ to = \"bin/tool\" }");
    project.write("recipe.toml", &recipe(&[tool]));
    let output = build(&project, &[]).expect_status(1);
    for told in [
        "Component `tool` is for arm64, the recipe for x86_64",
        "`bin/tool` is a program for arm64",
        "take that component for x86_64",
    ] {
        assert!(
            output.stderr.contains(told),
            "{told} is missing in\n{output}"
        );
    }
    assert_eq!(
        std::fs::read(package.join("rmx-package.json")).unwrap(),
        there
    );
    std::fs::write(package.join("bootstrap"), arm64_program()).unwrap();
    let verified = project
        .rmx(&["package", "verify", "package-x86_64"])
        .expect_status(1);
    assert!(
        verified
            .stderr
            .contains("bootstrap: it is a broken program"),
        "{verified}"
    );
}

#[test]
fn verify_tells_what_was_changed_since_the_build() {
    let project = TestProject::new();
    worker(&project);
    project.write(
        "recipe.toml",
        &recipe(&[
            component("one", ".text = \"one\"", "{ to = \"one.txt\" }"),
            component("two", ".text = \"two\"", "{ to = \"two.txt\" }"),
        ]),
    );
    built(&project, &[]);
    project.write("package-x86_64/one.txt", "another");
    project.write("package-x86_64/three.txt", "three");
    std::fs::remove_file(project.path().join("package-x86_64/two.txt")).unwrap();
    let output = project
        .rmx(&["package", "verify", "package-x86_64", "--json"])
        .expect_status(1);
    let findings = json(&output)["findings"].clone();
    let findings: Vec<_> = findings.as_array().unwrap().iter().collect();
    let told: Vec<_> = findings
        .iter()
        .map(|finding| finding["path"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["one.txt", "two.txt", "three.txt"]);
}

#[test]
fn validate_tells_a_package_for_another_machine() {
    let project = TestProject::new();
    project.write("site/index.html", "<html>");
    std::fs::create_dir(project.path().join("package")).unwrap();
    std::fs::write(project.path().join("package/bootstrap"), arm64_program()).unwrap();
    let config = |architecture: &str| {
        let text = format!(
            "project = \"shop\"\n[function]\npackage = \"package\"\narchitecture = \"{architecture}\"\n"
        );
        project.write("remotion.toml", &text);
    };
    config("arm64");
    let fine = project.rmx(&["validate"]);
    assert_eq!(fine.status, Some(0), "{fine}");
    config("x86_64");
    let wrong = project.rmx(&["validate"]).expect_status(1);
    let expected = "is a program for arm64, the function's architecture is x86_64";
    for told in [
        expected,
        "The function's package is for arm64, its architecture is x86_64",
        "`scripts/build-worker x86_64`",
        "`architecture = \"arm64\"` under [function]",
    ] {
        assert!(wrong.stderr.contains(told), "{told} is missing in\n{wrong}");
    }
    let wrong = json(&project.rmx(&["validate", "--json"]).expect_status(1));
    assert_eq!(wrong["valid"], false);
    let detail = wrong["diagnostics"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(expected), "{detail}");
}

#[test]
fn a_full_disk_is_told_and_the_cache_stays() {
    let mut project = TestProject::new();
    worker(&project);
    let (one, other) = (
        tgz(&[("package/a", "a", 0o644)], 0),
        tgz(&[("package/b", "b", 0o644)], 0),
    );
    std::fs::write(project.path().join("one.tgz"), &one).unwrap();
    let component = |name: &str, source: &str, content: &[u8]| {
        let files = format!("{{ from = \"package/{name}\", to = \"{name}\" }}");
        let digest = Digest::of(content);
        format!("{}sha256 = \"{digest}\"\n", component(name, source, &files))
    };
    let npm = component("a", ".npm = \"a@1.0.0\"", &one);
    let script = format!("cp {}/one.tgz a-1.0.0.tgz", project.path().display());
    client(&mut project, "npm", &script);
    project.write("recipe.toml", &recipe(std::slice::from_ref(&npm)));
    built(&project, &[]);

    // What curl writes to takes nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(".url = \"http://{}/b.tgz\"", listener.local_addr().unwrap());
    let partial = format!("{}.partial", Digest::of(&other));
    std::os::unix::fs::symlink("/dev/full", cache(&project).join(partial)).unwrap();
    let served = other.clone();
    let server = std::thread::spawn(move || serve(listener, served, &[usize::MAX >> 1]));
    project.write(
        "recipe.toml",
        &recipe(&[npm.clone(), component("b", &url, &other)]),
    );
    let full = build(&project, &[]).expect_status(1);
    assert!(full.stderr.contains("curl: (23)"), "{full}");
    assert!(full.stderr.contains("is there room on its disk?"), "{full}");
    drop(server.join().unwrap());
    // A client that says so itself.
    let script = format!("cat {}/one.tgz > /dev/full", project.path().display());
    client(&mut project, "npm", &script);
    let new = component("b", ".npm = \"b@1.0.0\"", &other);
    project.write("recipe.toml", &recipe(&[npm.clone(), new]));
    let full = build(&project, &[]).expect_status(1);
    assert!(
        full.stderr
            .to_lowercase()
            .contains("no space left on device"),
        "{full}"
    );
    assert!(full.stderr.contains("is there room on its disk?"), "{full}");
    // What was there is there.
    assert_eq!(project.read("package-x86_64/a"), "a");
    project.write("recipe.toml", &recipe(&[npm]));
    built(&project, &["--offline"]);
}

#[test]
fn a_package_that_lambda_would_not_unpack_is_refused() {
    let project = TestProject::new();
    worker(&project);
    let large = project.write("large/video.bin", "");
    let file = std::fs::File::options().write(true).open(large).unwrap();
    file.set_len(262_144_000).unwrap();
    let large = component(
        "large",
        ".folder = \"large\"",
        "{ from = \"video.bin\", to = \"video.bin\" }",
    );
    project.write("recipe.toml", &recipe(&[large]));
    let refused = build(&project, &[]).expect_status(1);
    for told in [
        "too large for Lambda",
        "262.1 MB",
        "`--without large` would be enough",
    ] {
        assert!(
            refused.stderr.contains(told),
            "{told} is missing in\n{refused}"
        );
    }
    built(&project, &["--without", "large"]);
    // What grew afterwards is found too, with what could be left out.
    let grown = project.path().join("package-x86_64/bootstrap");
    let file = std::fs::File::options().write(true).open(grown).unwrap();
    file.set_len(262_144_001).unwrap();
    let grown = project
        .rmx(&["package", "verify", "package-x86_64"])
        .expect_status(1);
    for told in ["layers included", "leave out more than one component"] {
        assert!(grown.stderr.contains(told), "{told} is missing in\n{grown}");
    }
    // What is there stays where the next one is refused.
    drop(build(&project, &[]).expect_status(1));
    let there = project
        .rmx(&["package", "show", "package-x86_64"])
        .expect_status(0);
    assert!(!there.stdout.contains("large"), "{there}");
}

#[test]
fn a_plan_tells_the_size_of_new_code_part_by_part() {
    let project = TestProject::new();
    worker(&project);
    let text = |name: &str, size: usize| {
        let text = "x".repeat(size);
        component(
            name,
            &format!(".text = \"{text}\""),
            &format!("{{ to = \"{name}\" }}"),
        )
    };
    project.write(
        "recipe.toml",
        &recipe(&[text("one", 100), text("two", 1_000)]),
    );
    built(&project, &[]);
    project.write(
        "remotion.toml",
        "project = \"hello\"\n[function]\npackage = \"package-x86_64\"\narchitecture = \"x86_64\"\n",
    );
    drop(project.rmx(&["apply", "--auto-approve"]).expect_status(0));
    project.write(
        "recipe.toml",
        &recipe(&[text("three", 2_000), text("two", 900)]),
    );
    built(&project, &[]);
    let plan = project.rmx(&["plan", "--out", "saved"]).expect_status(0);
    let shown = project.rmx(&["show", "saved"]).expect_status(0);
    for output in [&plan, &shown] {
        for line in [
            "Size of the function's code:\n",
            "- one     0.1 kB\n",
            "+ three   2.0 kB\n",
            "~ two     1.0 kB -> 0.9 kB (-0.1 kB)\n",
            "  in all  1.1 kB -> 2.9 kB (+1.8 kB), of 262.1 MB that Lambda unzips\n",
        ] {
            assert!(
                output.stdout.contains(line),
                "{line} is missing in\n{output}"
            );
        }
    }
    let size =
        json(&project.rmx(&["show", "saved", "--json"]).expect_status(0))["code_size"].clone();
    assert_eq!(size["parts"][2]["name"], "two", "{size}");
    // What was packed elsewhere is not known here.
    std::fs::remove_dir_all(project.path().join(".rmx/cache")).unwrap();
    let plan = project.rmx(&["plan"]).expect_status(0);
    assert!(
        plan.stdout.contains("was not packed on this machine"),
        "{plan}"
    );
    // Code that stays has no size to tell.
    drop(project.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let plan = project.rmx(&["plan"]).expect_status(0);
    assert!(!plan.stdout.contains("Size of"), "{plan}");
}

/// Answers one request with the first half of `content`; returns the connection and the other half.
fn half_served<'a>(listener: &TcpListener, content: &'a [u8]) -> (TcpStream, &'a [u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    let _ = stream.read(&mut [0; 1024]).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    let (first, rest) = content.split_at(content.len() / 2);
    stream
        .write_all(&[head.as_bytes(), first].concat())
        .unwrap();
    (stream, rest)
}

/// Whoever is killed can take nothing with them: curl lives on, and what it writes is no other build's.
#[test]
fn a_download_whose_build_was_killed_is_waited_for() {
    let project = TestProject::new();
    worker(&project);
    let content = tgz(&[("a.txt", "a", 0o644)], 0);
    let listener = recipe_by_url(&project, &content);
    let arguments = ["package", "build", "recipe.toml", "--worker", "worker"];
    let mut killed = project.command(&arguments).spawn().unwrap();
    let (mut stream, rest) = half_served(&listener, &content);
    killed.kill().unwrap();
    let _ended = killed.wait().unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| build(&project, &[]));
        // It has time to come, and to write where it must not.
        std::thread::sleep(std::time::Duration::from_secs(1));
        stream.write_all(rest).unwrap();
        let output = next.join().unwrap();
        assert_eq!(output.status, Some(0), "{output}");
    });
    assert_eq!(project.read("package-x86_64/a.txt"), "a");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it was asked for twice");
}

#[test]
fn what_killed_builds_left_behind_is_swept() {
    let mut project = TestProject::new();
    worker(&project);
    let archive = tgz(&[("package/a.txt", "a", 0o644)], 0);
    std::fs::write(project.path().join("a.tgz"), &archive).unwrap();
    let digest = Digest::of(&archive);
    let source = component(
        "a",
        ".npm = \"a@1.0.0\"",
        "{ from = \"package/a.txt\", to = \"a.txt\" }",
    );
    project.write(
        "recipe.toml",
        &recipe(&[format!("{source}sha256 = \"{digest}\"\n")]),
    );
    // A client that tells when it has begun, and then takes its time.
    let begun = project.path().join("begun");
    client(
        &mut project,
        "npm",
        &format!("echo half > half\ntouch {}\nexec sleep 20", begun.display()),
    );
    let arguments = ["package", "build", "recipe.toml", "--worker", "worker"];
    let mut killed = project.command(&arguments).spawn().unwrap();
    for _ in 0..600 {
        if begun.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    killed.kill().unwrap();
    let _ended = killed.wait().unwrap();
    let left = || {
        let entries = std::fs::read_dir(cache(&project)).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".fetching-")).count()
    };
    assert_eq!(left(), 1);
    project.write(".rmx-package-dead/bin/headless_shell", "-");
    let script = format!("cp {}/a.tgz a-1.0.0.tgz", project.path().display());
    let path = project.write("clients/npm", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    built(&project, &[]);
    assert_eq!(left(), 0);
    assert!(!project.path().join(".rmx-package-dead").exists());
}
