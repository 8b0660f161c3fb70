//! `rmx render --detach`: the function's own orchestrator drives the render. It is asked as Remotion Lambda's clients ask it.

use std::ffi::OsStr;

use bytes::Bytes;
use serde_json::{Value, json};

use super::deployed::Deployed;
use super::view;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, ExitStatus};
use crate::cli::farm::{self, Farm};
use crate::cli::foreign::lines;
use crate::cloud::PutOptions;
use crate::config::WorkerKind;
use crate::media::Fps;
use crate::names::{BucketName, RenderId};
use crate::protocol::{SiteLocation, X264_DEFAULT};
use crate::render::chunks::ChunkLength;
use crate::render::dispatch::Workers;
use crate::render::invocation::WorkerFunction;
use crate::render::new_render_id;
use crate::render::request::RenderOptions;
use crate::resource::site;
use crate::wire::output::expanded;
use crate::wire::request::{ChromiumOptions, FrameRange, InputProps, OutName, Privacy, Start};

/// Longer props go by way of the bucket, as clients of Remotion Lambda send them.
const PROPS_BYTES_MAX: usize = 190_000;

/// Begins the render, and says under which id.
pub(super) async fn detach(
    context: &Context,
    deployed: &Deployed,
    options: &RenderOptions,
    name: Option<&OsStr>,
) -> Result<ExitStatus, CommandError> {
    let name = match name {
        Some(name) => name.to_str().map(str::to_owned).ok_or_else(|| {
            CommandError::usage("The file's name is no text")
                .detail("With --detach it becomes the name of an object in the bucket.")
        })?,
        None => format!("out.{}", options.encode.container),
    };
    let bucket = deployed.workers(1)?.bucket;
    let farm = farm::connect_lasting(context, &deployed.config).await?;
    let begun = begin(&farm, deployed, options, &name).await;
    farm.shutdown().await;
    let id = begun?;
    let ui = &context.ui;
    if ui.json() {
        let more = json!({ "render_id": id, "bucket": bucket, "composition": options.composition });
        let said = format!("Render {id}: {}", options.composition);
        ui.print_json(&view::event("render_detached", said, more))?;
    } else {
        ui.print(&id)?;
        ui.say(format!("`rmx renders watch {id}` follows it"));
    }
    Ok(ExitStatus::Success)
}

/// Has the function begin a render whose output is called `name`.
///
/// # Errors
/// It refuses.
pub(super) async fn begin(
    farm: &Farm,
    deployed: &Deployed,
    options: &RenderOptions,
    name: &str,
) -> Result<RenderId, CommandError> {
    let Workers {
        bucket, functions, ..
    } = deployed.workers(1)?;
    let function = functions
        .first()
        .expect("workers are one function at least");
    let version = deployed.remotion_version()?;
    let asked = Asked {
        worker: deployed.worker(),
        farm,
        bucket: &bucket,
    };
    let props = input_props(farm, &bucket, &options.page.input_props).await?;
    let start = asked.start(options, props, name);
    let payload = match asked.worker {
        WorkerKind::Rmx => start.payload(&version),
        WorkerKind::Remotion => start.payload_for_remotion(&version),
    };
    asked.ask(function, &payload).await
}

/// Who is asked, and where.
#[derive(Clone, Copy)]
struct Asked<'a> {
    worker: WorkerKind,
    farm: &'a Farm,
    bucket: &'a BucketName,
}

/// The props, or where they were put because they are too long.
async fn input_props(
    farm: &Farm,
    bucket: &BucketName,
    props: &str,
) -> Result<InputProps, CommandError> {
    if props.len() <= PROPS_BYTES_MAX {
        let payload = props.to_owned();
        return Ok(InputProps::Payload { payload });
    }
    // rmx's function takes them from there into the render's own folder; Remotion's removes them at the end of a render.
    let hash = new_render_id().to_string();
    let key = format!("input-props/{hash}.json");
    let content = Bytes::from(props.to_owned());
    let options = PutOptions::default();
    farm.cloud
        .put_object(bucket, &key, content, &options)
        .await?;
    Ok(InputProps::BucketUrl {
        hash,
        bucket_name: bucket.to_string(),
    })
}

impl Asked<'_> {
    /// `options` as clients say them.
    fn start(self, options: &RenderOptions, input_props: InputProps, name: &str) -> Start {
        let RenderOptions {
            composition,
            page,
            overrides,
            frames,
            every_nth_frame,
            chunk_length,
            capture,
            encode,
            sound,
            retries_per_chunk,
        } = options;
        let (frames_per_lambda, concurrency) = match chunk_length {
            // The function does not know how many workers it will have.
            ChunkLength::Default | ChunkLength::ForWorkers(_) => (None, None),
            ChunkLength::Frames(frames) => (Some(*frames), None),
            ChunkLength::Chunks(chunks) => (None, Some(*chunks)),
        };
        // Who says nothing of H.264 gets rmx's default here, and would get Remotion's there.
        let own = self.worker == WorkerKind::Rmx && encode.codec.is_h264();
        let silent = own && encode.x264_preset.is_none() && encode.crf.is_none();
        Start {
            enable_cancellation: Some(true),
            renderer_function_name: None,
            serve_url: match &page.site {
                SiteLocation::Bucket(objects) => self.serve_url(site::name_of(&objects.prefix)),
                SiteLocation::Url(url) => url.clone(),
                SiteLocation::BuiltIn => unreachable!("no option names the smoke render's page"),
            },
            composition: composition.clone(),
            frames_per_lambda,
            concurrency,
            input_props,
            codec: encode.codec.to_string(),
            audio_codec: sound.codec.map(|codec| codec.to_string()),
            image_format: capture.image_format.map(|format| format.to_string()),
            jpeg_quality: Some(capture.jpeg_quality),
            crf: match &encode.video_bitrate {
                None if silent => Some(X264_DEFAULT.1),
                _ => encode.crf,
            },
            pixel_format: encode.pixel_format.map(|format| format.to_string()),
            pro_res_profile: encode.pro_res_profile.map(|profile| profile.to_string()),
            x264_preset: encode
                .x264_preset
                .or(own.then_some(X264_DEFAULT.0))
                .map(|preset| preset.to_string()),
            gop_size: encode.gop_size,
            env_variables: Some(page.environment.clone()),
            max_retries: Some(*retries_per_chunk),
            privacy: Some(Privacy::NoAcl),
            frame_range: frames.map(FrameRange::of),
            out_name: Some(OutName::Name(name.to_owned())),
            timeout_in_milliseconds: Some(page.timeout_ms),
            chromium_options: Some(ChromiumOptions {
                user_agent: page.browser.user_agent.clone(),
                dark_mode: Some(page.browser.dark_mode),
                ignore_certificate_errors: Some(page.browser.ignore_certificate_errors),
                disable_web_security: Some(page.browser.disable_web_security),
            }),
            scale: Some(capture.scale),
            every_nth_frame: Some(*every_nth_frame),
            number_of_gif_loops: encode.gif_loops,
            download_behavior: None,
            muted: Some(capture.muted),
            overwrite: Some(true),
            audio_bitrate: sound.bitrate.clone(),
            video_bitrate: encode.video_bitrate.clone(),
            encoding_max_rate: encode.max_rate.clone(),
            encoding_buffer_size: encode.buffer_size.clone(),
            webhook: None,
            force_height: overrides.height,
            force_width: overrides.width,
            force_fps: overrides.fps.map(Fps::as_f64),
            force_duration_in_frames: overrides.duration_in_frames,
            // Remotion's function looks for a bucket of its own where none is named.
            bucket_name: Some(self.bucket.to_string()),
            delete_after: None,
            color_space: Some(encode.color_space.to_string()),
            prefer_lossless: None,
            metadata: Some(encode.metadata.clone()),
            license_key: None,
            storage_class: None,
            sample_rate: sound.sample_rate,
        }
    }

    /// How the function finds the site `name` of the farm's bucket. A browser of Remotion's fetches it as anybody does.
    fn serve_url(self, name: &str) -> String {
        let Self {
            worker,
            farm,
            bucket,
        } = self;
        match (worker, &farm.connection.endpoint_url) {
            (WorkerKind::Rmx, _) => name.to_owned(),
            (WorkerKind::Remotion, None) => expanded(name, bucket, farm.identity.region.as_str()),
            (WorkerKind::Remotion, Some(endpoint)) => {
                format!("{endpoint}/{bucket}/sites/{name}/index.html")
            }
        }
    }

    /// Has the function begin.
    async fn ask(
        self,
        function: &WorkerFunction,
        payload: &Value,
    ) -> Result<RenderId, CommandError> {
        let payload = payload.to_string().into_bytes();
        let cloud = &self.farm.cloud;
        let reply = cloud
            .invoke(&function.name, &function.version, payload)
            .await?;
        let text = String::from_utf8_lossy(&reply.payload);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let id = answer["renderId"].as_str().and_then(|id| id.parse().ok());
        let (summary, says) = match (reply.function_error, id) {
            (None, Some(id)) => return Ok(id),
            (None, None) => ("The function refused the render", "message"),
            (Some(_), _) => ("The function failed", "errorMessage"),
        };
        let error =
            CommandError::error(summary).detail(lines(answer[says].as_str().unwrap_or(&text)));
        Err(match (self.worker, says) {
            (WorkerKind::Rmx, "message") => error,
            (WorkerKind::Rmx, _) => error.hint("run `rmx apply` to deploy the workers of this rmx"),
            (WorkerKind::Remotion, _) => error.hint(
                "`remotion_version` under [function] has to be that of the function that is deployed; `rmx plan` tells what else is not as it is declared",
            ),
        })
    }
}
