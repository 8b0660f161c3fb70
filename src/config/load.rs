//! From the file to [`Config`], or to everything that is wrong with it.

use std::path::{Path, PathBuf};

use super::problem::{self, Problem, Problems};
use super::{Config, build, check, keys, overlay, state, tree, worker};
use crate::names::StageName;

/// Which file to read, and how.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The file, absolute.
    pub path: PathBuf,
    /// The file's name in messages, as the user wrote it.
    pub shown_as: String,
    /// The `[stage.NAME]` to lay over the rest.
    pub stage: Option<String>,
    /// Whether the folders named in the file are looked at: sites without `build` and the function's package.
    pub check_folders: bool,
}

impl LoadOptions {
    /// The file's folder.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file says what it may not.
    #[error("{0}")]
    Invalid(Problems),
}

/// Reads the file.
///
/// # Errors
/// The file cannot be read, or something is wrong with it; all that is wrong is told at once.
pub fn load(options: &LoadOptions) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(&options.path).map_err(|error| ConfigError::Read {
        path: options.path.clone(),
        error,
    })?;
    parse(&text, options)
}

/// Reads the file's `text`. Touches the disk only if [`LoadOptions::check_folders`] says so.
///
/// # Errors
/// As for [`load`].
pub fn parse(text: &str, options: &LoadOptions) -> Result<Config, ConfigError> {
    let (whole, syntax_errors) = tree::parse(text);
    let mut problems = Vec::new();
    let mut root = check::table(&whole, &keys::ROOT, "", &mut problems);
    build::duplicate_sites(&root, &mut problems);
    for stage in root
        .table("stage")
        .iter()
        .flat_map(|stages| &stages.entries)
    {
        if let tree::Value::Table(stage) = &stage.node.value {
            build::duplicate_sites(stage, &mut problems);
        }
    }
    let stage = overlay(&mut root, options, &mut problems);
    if syntax_errors.is_empty() {
        check::required(&root, &keys::ROOT, "", None, &mut problems);
        build::render_site(&root, &mut problems);
        build::isolated_package(&root, &mut problems);
        state::check(&root, &mut problems);
        worker::check(&root, &mut problems);
        if options.check_folders {
            build::folders(&root, options.directory(), &mut problems);
        }
    } else {
        // What stands on a line that could not be understood is not what was meant.
        let line = |at: &tree::Span| problem::line_and_column(text, at.start).0;
        let lines: Vec<_> = syntax_errors
            .iter()
            .filter_map(|error| error.span().map(|at| line(&at)))
            .collect();
        problems.retain(|one| {
            one.span
                .as_ref()
                .is_none_or(|at| !lines.contains(&line(at)))
        });
        problems.extend(syntax_errors.iter().map(syntax_problem));
    }
    if problems.is_empty()
        && let Some(config) = build::config(&root, stage, text, options)
    {
        return Ok(config);
    }
    problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    Err(ConfigError::Invalid(Problems {
        file: options.shown_as.clone(),
        text: text.to_owned(),
        list: problems,
    }))
}

pub(super) fn syntax_problem(error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or_default();
    Problem::new("this is not TOML", &span, error.message())
}

/// Lays the chosen stage over `root`.
fn overlay(
    root: &mut tree::Table,
    options: &LoadOptions,
    problems: &mut Vec<Problem>,
) -> Option<StageName> {
    let name = options.stage.as_deref()?;
    let stages = root.table("stage").cloned().unwrap_or_default();
    if let Some(stage) = stages.table(name) {
        overlay::apply(root, stage);
        return name.parse().ok();
    }
    let names = || stages.entries.iter().map(|entry| entry.name.as_str());
    let help = match check::nearest(name, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if stages.entries.is_empty() => format!("add a table `[stage.{name}]` to it"),
        None => format!("the stages are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let summary = format!("{} declares no stage `{name}`", options.shown_as);
    problems.push(Problem::whole_file(summary).help(help));
    None
}

#[cfg(test)]
pub(crate) fn parse_for_tests(text: &str, stage: Option<&str>) -> Config {
    let options = LoadOptions {
        path: PathBuf::from("/project/remotion.toml"),
        shown_as: "remotion.toml".to_owned(),
        stage: stage.map(str::to_owned),
        check_folders: false,
    };
    match parse(text, &options) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Architecture, EnvironmentValue, LogsConfig, Target, format};

    #[test]
    fn a_stage_merges_tables_by_key_and_sites_by_name() {
        let text = r#"
            project = "hello"
            [function]
            memory_mb = 1024
            environment = { BB = "2", CC = "3" }
            [render]
            concurrency = 10
            [[site]]
            name = "one"
            folder = "a"
            [[site]]
            name = "two"
            folder = "b"
            [logs]
            managed = false
            [stage.prod]
            target = "aws"
            function.timeout_s = 60
            function.environment = { BB = "other", DD = { secret = "env:TOKEN" } }
            render.frames_per_lambda = 40
            logs.retention_days = 30
            site = [{ name = "two", folder = "c" }, { name = "three", folder = "d" }]
        "#;
        let base = parse_for_tests(text, None);
        let prod = parse_for_tests(text, Some("prod"));
        assert_eq!(base.target, Target::Local);
        assert_eq!(base.render.concurrency, Some(10));
        assert_eq!(base.logs, LogsConfig::Unmanaged);
        assert_eq!(prod.target, Target::Aws);
        assert_eq!(
            (prod.function.memory_mb, prod.function.timeout_s),
            (1024, 60)
        );
        // The overlay's key displaces the one that it cannot stand beside.
        assert_eq!(prod.render.concurrency, None);
        assert_eq!(prod.render.frames_per_lambda, Some(40));
        assert_eq!(
            prod.logs,
            LogsConfig::Managed {
                retention_days: 30,
                protect: None
            }
        );
        let variables: Vec<_> = prod.function.environment.into_iter().collect();
        assert_eq!(
            variables,
            [
                ("BB".to_owned(), EnvironmentValue::Plain("other".to_owned())),
                ("CC".to_owned(), EnvironmentValue::Plain("3".to_owned())),
                (
                    "DD".to_owned(),
                    EnvironmentValue::FromEnvironment("TOKEN".to_owned())
                ),
            ]
        );
        let folders: Vec<_> = prod
            .sites
            .iter()
            .map(|site| site.folder.to_str().unwrap())
            .collect();
        assert_eq!(folders, ["/project/a", "/project/c", "/project/d"]);
        assert_ne!(base.digest, prod.digest);
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = parse_for_tests("project = \"hello\"", None);
        assert_eq!(config.directory, Path::new("/project"));
        assert_eq!(config.function.memory_mb, 2048);
        assert_eq!(
            config.function.architecture,
            Architecture::of_this_machine()
        );
        assert_eq!(
            config.logs,
            LogsConfig::Managed {
                retention_days: 14,
                protect: None
            }
        );
        let aws = parse_for_tests("project = \"hello\"\ntarget = \"aws\"", None);
        assert_eq!(aws.function.architecture, Architecture::Arm64);
    }

    use proptest::prelude::*;

    proptest! {
        /// Whatever the file holds, it ends in a config or in problems that can be shown.
        #[test]
        fn nothing_makes_it_panic(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("project = \"a\"\n"), Just("[function]\n"), Just("[[site]]\n"), Just("[stage.x]\n"),
                    Just("memory_mb"), Just("environment"), Just("site"), Just(" = "), Just("."), Just("\n"),
                    Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just("\""), Just("\"\"\""),
                    Just("1"), Just("-99999999999999999999"), Just("nan"), Just("1e999"), Just("true"),
                    Just("ä"), Just("🎬"), Just("\r\n"), Just("\t"), Just("#"), Just("\u{feff}"), Just("\\u00"),
                ],
                0..24,
            )
        ) {
            let text = pieces.concat();
            for stage in [None, Some("x".to_owned())] {
                let options = LoadOptions {
                    path: "/nonexistent/remotion.toml".into(),
                    shown_as: "remotion.toml".to_owned(),
                    stage,
                    check_folders: true,
                };
                if let Err(ConfigError::Invalid(problems)) = parse(&text, &options) {
                    prop_assert!(problems.count() > 0, "{text:?}");
                    prop_assert_eq!(problems.render(false).len(), problems.count());
                    prop_assert_eq!(problems.diagnostics().len(), problems.count());
                }
                let _ = format(&text, &options).map_err(|error| error.to_string());
            }
        }
    }
}
