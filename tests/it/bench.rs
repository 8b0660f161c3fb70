//! `rmx bench` against the embedded cloud, with the worker of the render tests; and what it does before anybody has agreed.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use crate::render::deployed_project;
use crate::support::TestProject;

const SITE: [&str; 2] = ["--site", "http://localhost/"];

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_has_figures_that_fit_together_and_a_page() {
    let project = deployed_project().await;
    let asked = [
        "bench",
        "Title",
        "--auto-approve",
        "--frames",
        "30",
        "--runs",
        "2",
        "--workers",
        "1",
    ];
    let output = project.rmx(&[&asked[..], &SITE].concat()).expect_status(0);
    assert!(
        output.stderr.contains("2 renders of 30 frames of Title"),
        "{output}"
    );
    assert!(output.stderr.contains("Nothing is billed"), "{output}");
    assert!(
        output
            .stdout
            .contains("out/bench/bench.json\nout/bench/bench.html\n"),
        "{output}"
    );

    let report: Value = serde_json::from_str(&project.read("out/bench/bench.json")).unwrap();
    assert_eq!(report["target"], "local");
    assert_eq!(report["cost"]["billed"], false);
    assert_eq!(report["function"]["memory_mb"], 512);
    let renders = report["renders"].as_array().unwrap();
    assert_eq!(renders.len(), 2);
    for render in renders {
        let invocations = render["invocations"].as_array().unwrap();
        let frames: u64 = invocations
            .iter()
            .filter(|one| !one["segment"].is_null())
            .map(|one| number(&one["segment"]["frame_count"]))
            .sum();
        assert_eq!(frames, 30, "{render:#}");
        assert_eq!(
            [number(&render["frames"]), number(&render["chunks"])],
            [30, 1]
        );
        // One for the composition, one for the chunk; each is heard of before it ends.
        assert_eq!(invocations.len(), 2, "{render:#}");
        for one in invocations {
            assert!(
                number(&one["started_ms"]) <= number(&one["took_ms"]),
                "{one}"
            );
        }
        let phases = &render["phases"];
        let phases: u64 = ["resolve_ms", "render_ms", "sound_ms", "stitch_ms"]
            .iter()
            .map(|phase| number(&phases[*phase]))
            .sum();
        assert!(phases <= number(&render["wall_ms"]), "{render:#}");
    }
    let all = &report["by_workers"][0];
    assert_eq!([number(&all["workers"]), number(&all["runs"])], [1, 2]);
    let ordered = |times: &Value| {
        let names = ["min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"];
        let times: Vec<u64> = names.iter().map(|name| number(&times[*name])).collect();
        assert!(times.is_sorted(), "{times:?}");
    };
    ordered(&all["wall"]);
    // The stand-in says of every start that it is cold.
    ordered(&report["cold"]["first_message"]);
    assert_eq!(number(&report["cold"]["first_message"]["count"]), 4);
    assert_eq!(number(&report["cold"]["first_picture"]["count"]), 2);
    assert!(report["warm"]["first_message"].is_null());
    let costs = report["cost"]["usd"].as_f64().unwrap();
    let each = all["usd"].as_f64().unwrap();
    assert!((costs - 2.0 * each).abs() < 1e-12, "{costs} {each}");

    let page = project.read("out/bench/bench.html");
    assert!(
        page.contains("<b>Title</b>") && page.ends_with("</html>\n"),
        "{page}"
    );
    assert_eq!(page.matches("<circle").count(), 2, "one for each chunk");
    // The drawing says what it is drawn over, from nothing to the longest.
    let axis = page.lines().find(|line| line.contains("class=\"axis\""));
    let axis = axis.unwrap_or_else(|| panic!("{page}"));
    assert!(
        axis.contains(">from the invocation to the first picture<") && axis.contains(">0"),
        "{axis}"
    );
    let outside = page.replace("https://aws.amazon.com/lambda/pricing/", "");
    assert!(
        !outside.contains("http") && !page.contains("<script"),
        "{page}"
    );
    // Nothing but the report stays.
    let left = std::fs::read_dir(project.path().join("out/bench")).unwrap();
    assert_eq!(left.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_measured_before_a_failure_is_kept() {
    let project = deployed_project().await;
    let marker = project.path().join("marker").display().to_string();
    let asked = [
        "bench",
        "Title",
        "--auto-approve",
        "--frames",
        "30",
        "--workers",
        "1",
        "--json",
    ];
    // The worker fails at once, and for good.
    let props = format!("{{\"faults\": {{\"0:1\": \"page error\"}}, \"marker\": {marker:?}}}");
    let failing = [&asked[..], &SITE, &["--props", &props]].concat();
    let failed = project.rmx(&failing).expect_status(1);
    assert!(failed.stderr.contains("no such image"), "{failed}");
    assert!(!project.path().join("out/bench/bench.json").exists());
    // The fault happens once: now nothing is in the way.
    let output = project.rmx(&failing).expect_status(0);
    let last: Value = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["renders"].as_array().unwrap().len(), 3);
}

/// A project on AWS whose endpoint is a listener that nobody may connect to.
fn on_aws() -> (TestProject, TcpListener) {
    let mut project = TestProject::new();
    project.write(
        "remotion.toml",
        "project = \"films\"\ntarget = \"aws\"\nregion = \"us-east-1\"\n[state]\nbucket = \"films-state\"\n",
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", "a".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "b".to_owned()),
    ] {
        project.set_variable(name, &value);
    }
    (project, listener)
}

fn assert_nobody_called(listener: &TcpListener) {
    let called = listener.accept();
    assert!(called.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

#[test]
fn nothing_is_called_before_somebody_agrees_to_the_cost() {
    let (project, listener) = on_aws();
    let unasked = project.rmx(&["bench", "Title"]).expect_status(64);
    assert!(unasked.stderr.contains("pass --aws"), "{unasked}");
    let nobody = project.rmx(&["bench", "Title", "--aws"]).expect_status(64);
    assert!(
        nobody.stderr.contains("It is billed, at about $0.0"),
        "{nobody}"
    );
    assert!(nobody.stderr.contains("--auto-approve"), "{nobody}");

    // Somebody who says no, at a terminal that util-linux's `script` makes.
    let command = project.command(&["bench", "Title", "--aws"]);
    let program = command.get_program().to_str().unwrap();
    let mut terminal = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{program} bench Title --aws"))
        .arg("/dev/null")
        .current_dir(project.path())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    terminal.stdin.take().unwrap().write_all(b"no\n").unwrap();
    let output = terminal.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("at that cost?") && text.contains("Nothing was done."),
        "{text}"
    );
    assert_nobody_called(&listener);
    assert!(!project.path().join("out").exists());
}

#[test]
fn what_is_not_billed_is_not_measured_as_if_it_were() {
    let project = TestProject::new();
    project.write("remotion.toml", "project = \"films\"\n");
    let output = project.rmx(&["bench", "Title", "--aws"]).expect_status(64);
    assert!(output.stderr.contains("leave --aws out"), "{output}");
    let output = project
        .rmx(&["bench", "Title", "--auto-approve"])
        .expect_status(1);
    assert!(output.stderr.contains("run `rmx apply` first"), "{output}");
}
