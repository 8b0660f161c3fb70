//! `rmx still`: one frame of a composition becomes an image on this machine.

use std::path::PathBuf;

use serde_json::json;

use crate::media::{StillFormat, StillFormatError};
use crate::render::dispatch::Session;
use crate::render::output::OutputFile;
use crate::render::request::{CaptureOptions, StillOptions, StillRequest};
use crate::render::{self, StillOutput};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::render::artifacts::{self, ArtifactArgs};
use super::render::deployed::Deployed;
use super::render::options::{OverrideArgs, PageArgs};
use super::render::view::{self, View};
use super::render::{default_output, failure_shown, shown_path};

/// Render one frame of a composition into an image
#[derive(Debug, clap::Args)]
pub(crate) struct StillArgs {
    /// The composition's id
    composition: String,
    /// The file to write [default: out/COMPOSITION.png]
    out: Option<PathBuf>,
    /// The frame; negative numbers count from the end
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    frame: i64,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// Times as many pixels a side as the composition has
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    /// png, jpeg, webp or pdf; what the file's ending says where absent
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    image_format: Option<StillFormat>,
    /// Quality of a JPEG or WebP, 0 to 100
    #[arg(long, value_name = "N")]
    jpeg_quality: Option<u8>,
    /// Whether a file that is there may be replaced
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    overwrite: bool,
}

pub(crate) async fn cmd_still(
    context: &Context,
    args: &StillArgs,
) -> Result<ExitStatus, CommandError> {
    let deployed = Deployed::load(context, &args.page).await?;
    let format = format(args)?;
    check_quality(args, format)?;
    let path = context.path(&match &args.out {
        Some(out) => out.clone(),
        None => default_output(&args.composition, extension(format)),
    });
    let shown = shown_path(context, &path);
    let defaults = &deployed.config.render;
    let request = StillRequest::new(StillOptions {
        composition: args.composition.clone(),
        page: deployed.page(context, &args.page)?,
        overrides: args.overrides.overrides(),
        frame: args.frame,
        format,
        capture: CaptureOptions {
            method: None,
            image_format: None,
            jpeg_quality: args.jpeg_quality.unwrap_or(defaults.jpeg_quality),
            scale: args.scale.unwrap_or(defaults.scale),
            // An image has no sound.
            muted: true,
        },
        retries: deployed.retries(&args.page),
    })?;
    let output = OutputFile::create(&path, args.overwrite)?;
    let cancel = context.interrupt.stop().child_token();
    let mut view = View::new(context, &args.page, &cancel);
    let (farm, ()) = tokio::join!(
        farm::connect(context, &deployed.config),
        deployed.note_edits(context, &request.options().page),
    );
    let farm = farm?;
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = async {
        let workers = deployed.workers(1)?;
        let session = Session {
            cloud: &farm.cloud,
            workers: &workers,
            cancel: &cancel,
        };
        let folder = args.artifacts.folder(context, &args.composition);
        let show = |event: render::RenderEvent<'_>| view.show(&event);
        let outcome = render::still(&request, output, &folder, session, show).await;
        view.end()?;
        outcome.map_err(|error| failure_shown(error, &args.composition, None))
    }
    .await;
    farm.shutdown().await;
    let StillOutput {
        composition: _,
        size_bytes,
        artifacts: emitted,
    } = outcome?;
    if context.ui.json() {
        let fields = json!({
            "output": path,
            "size_bytes": size_bytes,
            "artifacts": artifacts::as_json(&emitted),
        });
        context.ui.print_json(&view::event(
            "still_complete",
            format!("Rendered {shown}"),
            fields,
        ))?;
    } else {
        for artifact in &emitted {
            let shown = shown_path(context, &artifact.path);
            context.ui.say(format!("Artifact: {shown}"));
        }
        context.ui.print(&shown)?;
    }
    Ok(ExitStatus::Success)
}

fn parse_format(text: &str) -> Result<StillFormat, String> {
    let parsed = text.parse();
    parsed.map_err(|error: StillFormatError| error.to_string())
}

/// A quality that nothing would come of was a mistake.
fn check_quality(args: &StillArgs, format: StillFormat) -> Result<(), CommandError> {
    match (args.jpeg_quality, format) {
        (None, _) | (_, StillFormat::Jpeg | StillFormat::Webp) => Ok(()),
        (Some(_), StillFormat::Png | StillFormat::Pdf) => Err(CommandError::usage(format!(
            "--jpeg-quality does not go with a {format}"
        ))
        .detail("Only JPEG and WebP leave something out.")
        .hint("leave it out, or write a .jpg or .webp")),
    }
}

fn extension(format: StillFormat) -> &'static str {
    match format {
        StillFormat::Jpeg => "jpg",
        StillFormat::Png => "png",
        StillFormat::Webp => "webp",
        StillFormat::Pdf => "pdf",
    }
}

/// The format that was asked for, or that the file's ending means; both must agree.
fn format(args: &StillArgs) -> Result<StillFormat, CommandError> {
    let ending = args
        .out
        .as_ref()
        .and_then(|out| out.extension())
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let meant = match ending.as_deref() {
        None => None,
        Some("png") => Some(StillFormat::Png),
        Some("jpg" | "jpeg") => Some(StillFormat::Jpeg),
        Some("webp") => Some(StillFormat::Webp),
        Some("pdf") => Some(StillFormat::Pdf),
        Some(other) => {
            return Err(CommandError::usage(
                "The output file's ending is not that of an image rmx can write",
            )
            .detail(format!(
                "It is .{other}; .png, .jpg, .jpeg, .webp and .pdf are possible."
            )));
        }
    };
    match (args.image_format, meant) {
        (Some(asked), Some(meant)) if asked != meant => Err(CommandError::usage(
            "The output file's ending and --image-format contradict each other",
        )
        .detail(format!(
            "The ending means {meant}, --image-format says {asked}."
        ))),
        (asked, meant) => Ok(asked.or(meant).unwrap_or(StillFormat::Png)),
    }
}
