//! The recipe of a function package: TOML, strict, every component with an exact version and, where it comes from
//! elsewhere, with its digest.

use std::collections::BTreeMap;
use std::path::{Component as PathPart, Path, PathBuf};

use serde::Deserialize;

use super::PackageError;
use crate::digest::Digest;

/// A recipe.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What it is for: `arm64` or `x86_64`.
    pub architecture: String,
    /// Name → component.
    pub components: BTreeMap<String, Component>,
    /// Where its files and folders are looked for.
    pub(super) folder: PathBuf,
}

/// One component.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Where it comes from.
    pub source: Source,
    /// SHA-256 of the file that the source gives; needed where that is not on this machine.
    pub sha256: Option<Digest>,
    /// Size of that file, so that whoever waits for it sees how much is still to come.
    pub size_bytes: Option<u64>,
    /// SPDX expression of its licence.
    pub licence: String,
    /// Where its source and licence texts are.
    pub home: String,
    /// Whether it is left out unless somebody asks for it.
    #[serde(default)]
    pub optional: bool,
    /// What of it goes where.
    pub files: Vec<FileRule>,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The worker, as it lies next to `rmx` or is named on the command line.
    Worker,
    /// This text.
    Text(String),
    /// A file, relative to the recipe.
    File(PathBuf),
    /// A folder, relative to the recipe.
    Folder(PathBuf),
    /// An http or https address.
    Url(String),
    /// `NAME@VERSION` of npm, through `npm pack`.
    Npm(String),
    /// `NAME==VERSION` of PyPI, a wheel through `pip download`.
    Pypi(String),
    /// `NAME=VERSION` of Debian, through `apt-get download`.
    Debian(String),
}

/// What of a component goes where in the package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRule {
    /// An archive within the component that `from` lies in.
    pub archive: Option<String>,
    /// A file, or with `/` at its end a folder. A `.br` or `.gz` that `to` does not have is unpacked, a `.gz` that only `to` has
    /// is packed; the worker unpacks it again when it starts.
    #[serde(default)]
    pub from: String,
    /// Where it goes; a folder goes to a folder.
    pub to: String,
    /// Whether it can be run.
    #[serde(default)]
    pub executable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    architecture: String,
    component: BTreeMap<String, Component>,
}

/// The recipe that comes with rmx.
const SHIPPED: &str = include_str!("../../../bundles/package-x86_64.toml");

impl Recipe {
    /// The recipe that comes with rmx, for x86_64. It names no files of this machine.
    ///
    /// # Errors
    /// Never, as a test sees.
    pub fn shipped() -> Result<Self, PackageError> {
        Self::parse(SHIPPED, "the recipe that comes with rmx", Path::new("."))
    }

    /// Reads the recipe at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is no recipe.
    pub fn load(path: &Path) -> Result<Self, PackageError> {
        let text = std::fs::read_to_string(path).map_err(PackageError::reading(path))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, &path.display().to_string(), folder)
    }

    /// Parses `text`, which is called `shown` in messages and whose paths are relative to `folder`.
    ///
    /// # Errors
    /// It is no recipe.
    pub fn parse(text: &str, shown: &str, folder: &Path) -> Result<Self, PackageError> {
        let failed = |message: String| PackageError::Recipe {
            shown: shown.to_owned(),
            message,
        };
        let Text {
            architecture,
            component: components,
        } = toml::from_str(text).map_err(|error| failed(error.to_string()))?;
        if !["arm64", "x86_64"].contains(&architecture.as_str()) {
            return Err(failed(format!(
                "architecture is `{architecture}`; Lambda has arm64 and x86_64"
            )));
        }
        for (name, component) in &components {
            component
                .check()
                .map_err(|message| failed(format!("component `{name}`: {message}")))?;
        }
        Ok(Self {
            architecture,
            components,
            folder: folder.to_owned(),
        })
    }
}

impl Component {
    /// The version, as the source names it.
    pub fn version(&self) -> &str {
        match &self.source {
            Source::Npm(spec) => split(spec, "@").map_or("", |(_, version)| version),
            Source::Pypi(spec) => split(spec, "==").map_or("", |(_, version)| version),
            Source::Debian(spec) => split(spec, "=").map_or("", |(_, version)| version),
            Source::Url(_)
            | Source::Worker
            | Source::Text(_)
            | Source::File(_)
            | Source::Folder(_) => "",
        }
    }

    fn check(&self) -> Result<(), String> {
        match &self.source {
            Source::Npm(spec) => exact(spec, "@")?,
            Source::Pypi(spec) => exact(spec, "==")?,
            Source::Debian(spec) => exact(spec, "=")?,
            Source::Url(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                return Err(format!("`{url}` is no http or https address"));
            }
            Source::Url(_)
            | Source::Worker
            | Source::Text(_)
            | Source::File(_)
            | Source::Folder(_) => {}
        }
        let pinned = matches!(
            self.source,
            Source::Url(_) | Source::Npm(_) | Source::Pypi(_) | Source::Debian(_)
        );
        if pinned && self.sha256.is_none() {
            return Err("`sha256` is missing".to_owned());
        }
        if self.files.is_empty() {
            return Err("`files` is empty: nothing of it would be in the package".to_owned());
        }
        for rule in &self.files {
            let inside = Path::new(&rule.to)
                .components()
                .all(|part| matches!(part, PathPart::Normal(_)));
            if rule.to.is_empty() || !inside {
                return Err(format!("`{}` does not lie in the package", rule.to));
            }
            if rule.from.ends_with('/') != rule.to.ends_with('/') {
                return Err(format!(
                    "`{}` and `{}` must both be folders, with `/` at the end, or both be files",
                    rule.from, rule.to
                ));
            }
        }
        Ok(())
    }
}

fn split<'a>(spec: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    spec.rsplit_once(separator)
}

/// One version and no range, and nothing that a client would take for an option.
fn exact(spec: &str, separator: &str) -> Result<(), String> {
    let wrong = || format!("`{spec}` is not NAME{separator}VERSION with an exact version");
    let (name, version) = split(spec, separator).ok_or_else(wrong)?;
    let fine = |text: &str, more: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let named = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@');
    let versioned = version.starts_with(|c: char| c.is_ascii_digit());
    (named && versioned && fine(name, "@/-_.+") && fine(version, "-.+~:"))
        .then_some(())
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(component: &str) -> Result<Recipe, String> {
        let text = format!(
            "architecture = \"x86_64\"\n[component.it]\nlicence = \"MIT\"\nhome = \"-\"\n{component}"
        );
        Recipe::parse(&text, "it.toml", Path::new(".")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_recipe_that_comes_with_rmx_is_one() {
        let recipe = Recipe::shipped().unwrap();
        assert_eq!(recipe.architecture, "x86_64");
        for name in ["worker", "chromium", "ffmpeg", "fonts"] {
            assert!(!recipe.components[name].optional, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_recipe_is_told() {
        let sha256 = format!("sha256 = \"{}\"", "0".repeat(64));
        let files = "files = [{ from = \"a\", to = \"b\" }]";
        let fine = parse(&format!(
            "source = {{ npm = \"@a/b@1.2.3\" }}\n{sha256}\n{files}"
        ))
        .unwrap();
        assert_eq!(fine.components["it"].version(), "1.2.3");
        let wrong = [
            ("source = { npm = \"a@^1\" }", "an exact version"),
            ("source = { npm = \"--registry=x@1\" }", "an exact version"),
            ("source = { pypi = \"a>=1\" }", "an exact version"),
            ("source = { debian = \"a\" }", "an exact version"),
            ("source = { url = \"ftp://a\" }", "no http or https address"),
            ("source = { cargo = \"a@1\" }", "unknown variant `cargo`"),
        ];
        for (source, expected) in wrong {
            let error = parse(&format!("{source}\n{sha256}\n{files}")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let cases = [
            (
                format!("source = {{ npm = \"a@1\" }}\n{files}"),
                "`sha256` is missing",
            ),
            (
                "source = \"worker\"\nfiles = []".to_owned(),
                "`files` is empty",
            ),
            (
                "source = \"worker\"\nfiles = [{ to = \"../b\" }]".to_owned(),
                "does not lie in the package",
            ),
            (
                "source = \"worker\"\nfiles = [{ to = \"/b\" }]".to_owned(),
                "does not lie in the package",
            ),
            (
                "source = \"worker\"\nfiles = [{ from = \"a/\", to = \"b\" }]".to_owned(),
                "must both be folders",
            ),
            (
                "source = \"worker\"\nfiles = [{ to = \"b\", mode = 1 }]".to_owned(),
                "unknown field `mode`",
            ),
        ];
        for (component, expected) in cases {
            let error = parse(&component).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
