//! Options that render, still and compositions share, and how they become what the render room wants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::media::{
    AudioCodec, CaptureMethod, Codec, ColorSpace, Fps, ImageFormat, PixelFormat, ProResProfile,
    X264Preset,
};
use crate::render::request::Overrides;

use super::refused::RefusedOptions;

/// How much of the page's console is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum LogLevel {
    /// Errors only.
    Error,
    /// Errors and warnings.
    Warn,
    /// As `warn`.
    Info,
    /// Everything.
    #[value(alias = "trace")]
    Verbose,
}

/// The page, and what it is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PageArgs {
    /// A site by name, or the address of a bundle; the only site of the configuration where absent
    #[arg(long, value_name = "NAME|URL")]
    pub(super) site: Option<String>,
    /// Input props: a JSON object, or a file that holds one
    #[arg(long, value_name = "JSON|FILE")]
    pub(super) props: Option<String>,
    /// A file of NAME=VALUE lines for the page's `process.env`, beside the variables here that begin with REMOTION_
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Option<PathBuf>,
    /// How long one `delayRender` may take, in milliseconds; Remotion takes 2000 off it
    #[arg(long, value_name = "MS")]
    pub(super) timeout: Option<u32>,
    /// What the browser calls itself, in place of its own name
    #[arg(long, value_name = "TEXT")]
    pub(super) user_agent: Option<String>,
    /// Tell the page that a dark colour scheme is preferred
    #[arg(long)]
    pub(super) dark_mode: bool,
    /// Trust servers whatever their certificates
    #[arg(long)]
    pub(super) ignore_certificate_errors: bool,
    /// Let the page read what other origins do not offer to it
    #[arg(long)]
    pub(super) disable_web_security: bool,
    /// How often a failed chunk is tried again
    #[arg(long, value_name = "N")]
    pub(super) max_retries: Option<u32>,
    /// How much of the page's console is shown
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    pub(in crate::cli) log: LogLevel,
    /// Show no progress
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    pub(super) refused: RefusedOptions,
}

/// Values in place of the composition's own.
#[derive(Debug, clap::Args)]
pub(crate) struct OverrideArgs {
    /// Width in place of the composition's
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Height in place of the composition's
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// Frames a second in place of the composition's
    #[arg(long, value_name = "NUMBER", value_parser = parse_fps)]
    fps: Option<Fps>,
    /// Number of frames in place of the composition's
    #[arg(long, value_name = "FRAMES")]
    duration: Option<u32>,
}

impl OverrideArgs {
    pub(in crate::cli) fn overrides(&self) -> Overrides {
        Overrides {
            width: self.width,
            height: self.height,
            fps: self.fps,
            duration_in_frames: self.duration,
        }
    }
}

fn parse_fps(text: &str) -> Result<Fps, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Fps::from_number(number).map_err(|error| error.to_string())
}

fn known<T: FromStr>(text: &str, elsewhere: &[&str]) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        if elsewhere.contains(&text) {
            format!("rmx does not do this yet; {error}")
        } else {
            error.to_string()
        }
    })
}

pub(in crate::cli) fn parse_codec(text: &str) -> Result<Codec, String> {
    known(text, &["av1", "h264-ts"])
}

pub(in crate::cli) fn parse_audio_codec(text: &str) -> Result<AudioCodec, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_color_space(text: &str) -> Result<ColorSpace, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=TEXT is expected, such as title=Hello".to_owned()),
    }
}

pub(in crate::cli) fn parse_profile(text: &str) -> Result<ProResProfile, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_capture_method(text: &str) -> Result<CaptureMethod, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_image_format(text: &str) -> Result<ImageFormat, String> {
    known(text, &["none"])
}

pub(in crate::cli) fn parse_pixel_format(text: &str) -> Result<PixelFormat, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_preset(text: &str) -> Result<X264Preset, String> {
    known(text, &[])
}

/// The text of the props, as compact JSON.
pub(super) fn input_props(context: &Context, given: &str) -> Result<String, CommandError> {
    // No file's name begins like a JSON value, or it can be written as `./[…`.
    let (text, place) = if given.trim_start().starts_with(['{', '[', '"']) {
        (given.to_owned(), "--props".to_owned())
    } else {
        let path = context.path(Path::new(given));
        let text = std::fs::read_to_string(&path).map_err(|error| {
            CommandError::error("Cannot read the props")
                .detail(format!(
                    "--props takes a JSON object or a file; `{given}` is not an object, and {} cannot be read.",
                    path.display()
                ))
                .cause(error)
        })?;
        (text, given.to_owned())
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        let line = text
            .lines()
            .nth(error.line().saturating_sub(1))
            .unwrap_or_default();
        let shown: String = line.chars().take(200).collect();
        CommandError::usage("The props are not valid JSON").detail(format!(
            "{place}: {error}\n\n  {shown}\n  {:>column$}",
            "^",
            column = error.column().clamp(1, 200)
        ))
    })?;
    if !value.is_object() {
        return Err(CommandError::usage("The props are not a JSON object")
            .detail(format!("{place} holds another kind of value."))
            .hint("give an object, as in --props '{\"title\": \"Hello\"}'"));
    }
    Ok(value.to_string())
}

/// What the page's `process.env` holds: our own variables for Remotion, and those of the file, which come first.
pub(in crate::cli) fn page_environment(
    context: &Context,
    env_file: Option<&Path>,
) -> Result<BTreeMap<String, String>, CommandError> {
    let ours = context.env.variables.iter();
    let mut environment: BTreeMap<String, String> = ours
        .filter(|(name, _)| name.starts_with("REMOTION_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(path) = env_file {
        environment.extend(self::environment(context, path)?);
    }
    Ok(environment)
}

/// `NAME=VALUE` lines; `#` begins a comment line; quotes around a value and a leading `export` are taken off.
fn environment(context: &Context, path: &Path) -> Result<BTreeMap<String, String>, CommandError> {
    let text = std::fs::read_to_string(context.path(path)).map_err(|error| {
        CommandError::error("Cannot read the environment file")
            .detail(format!("The file is {}.", path.display()))
            .cause(error)
    })?;
    let mut environment = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line.split_once('=').filter(|(name, _)| {
            let name = name.trim();
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        // The line itself may hold a secret, so it is not shown.
        let (name, value) = pair.ok_or_else(|| {
            CommandError::usage("The environment file is not valid").detail(format!(
                "{}, line {number}: NAME=VALUE is expected.",
                path.display()
            ))
        })?;
        let value = value.trim();
        let unquoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        environment.insert(name.trim().to_owned(), unquoted.unwrap_or(value).to_owned());
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_do_is_named_as_such() {
        assert!(
            parse_codec("av1")
                .unwrap_err()
                .starts_with("rmx does not do this yet")
        );
        assert!(!parse_codec("h26").unwrap_err().contains("yet"));
        assert_eq!(parse_fps("29.97").unwrap().to_string(), "30000/1001");
    }
}
