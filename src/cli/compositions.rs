//! `rmx compositions`: what a site can render.

use serde_json::{Value, json};

use crate::protocol::Composition;
use crate::render;
use crate::render::dispatch::Session;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::foreign::one_line;
use super::render::deployed::Deployed;
use super::render::failure_shown;
use super::render::options::PageArgs;
use super::render::view::View;
use super::ui::Style;

/// List the compositions of a site
#[derive(Debug, clap::Args)]
pub(crate) struct CompositionsArgs {
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn cmd_compositions(
    context: &Context,
    args: &CompositionsArgs,
) -> Result<ExitStatus, CommandError> {
    let deployed = Deployed::load(context, &args.page).await?;
    let page = deployed.page(context, &args.page)?;
    let cancel = context.interrupt.stop().child_token();
    let mut view = View::new(context, &args.page, &cancel);
    let farm = farm::connect(context, &deployed.config).await?;
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = async {
        let workers = deployed.workers(1)?;
        let session = Session {
            cloud: &farm.cloud,
            workers: &workers,
            cancel: &cancel,
        };
        let retries = deployed.retries(&args.page);
        let outcome =
            render::compositions(&page, retries, session, |event| view.show(&event)).await;
        view.end()?;
        outcome.map_err(|error| failure_shown(error, "all compositions", None))
    }
    .await;
    farm.shutdown().await;
    show(context, args, &outcome?)?;
    Ok(ExitStatus::Success)
}

fn show(
    context: &Context,
    args: &CompositionsArgs,
    compositions: &[Composition],
) -> Result<(), CommandError> {
    let ui = &context.ui;
    if ui.json() {
        let list: Vec<Value> = compositions.iter().map(to_json).collect();
        return ui.print_json(&list);
    }
    let ids = compositions
        .iter()
        .map(|composition| one_line(&composition.id));
    let ids: Vec<String> = ids.collect();
    let width = ids.iter().map(|id| id.chars().count()).max().unwrap_or(0);
    for (composition, id) in compositions.iter().zip(ids) {
        if args.page.quiet {
            ui.print(id)?;
            continue;
        }
        let seconds = f64::from(composition.duration_in_frames) / composition.fps.as_f64();
        ui.print(format_args!(
            "{}  {:>4} x {:<4}  {:>6} fps  {:>6} frames  {seconds:.1} s",
            ui.paint(Style::Bold, format_args!("{id:<width$}")),
            composition.width,
            composition.height,
            composition.fps,
            composition.duration_in_frames,
        ))?;
    }
    Ok(())
}

fn to_json(composition: &Composition) -> Value {
    json!({
        "id": composition.id,
        "width": composition.width,
        "height": composition.height,
        "fps": composition.fps.as_f64(),
        "duration_in_frames": composition.duration_in_frames,
        "default_props": serde_json::from_str::<Value>(&composition.default_props).unwrap_or_default(),
    })
}
