//! What a plan does to the cost of rendering, and on what that rests.

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::plan::cost::{Estimate, Shape};

/// The section for people, ending in a line break; nothing where no function is concerned.
pub(crate) fn cost_text(estimate: Option<&Estimate>, ui: &Ui) -> String {
    let Some(estimate) = estimate else {
        return String::new();
    };
    let title = ui.paint(Style::Bold, "Cost of a minute of video:");
    let mut lines = vec![figures(estimate), assumption(estimate)];
    lines.extend(capacity(estimate));
    lines.push(source(estimate));
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("\n{title}\n{lines}")
}

/// The document for programs; null where no function is concerned.
pub(super) fn cost_json(estimate: Option<&Estimate>) -> Value {
    json!(estimate)
}

/// A paragraph for a pull request.
pub(super) fn cost_markdown(estimate: Option<&Estimate>) -> String {
    let paragraph = |estimate: &Estimate| {
        let parts = [figures(estimate), assumption(estimate), source(estimate)];
        format!("\nCost of a minute of video: {}.\n", parts.join("; "))
    };
    estimate.map(paragraph).unwrap_or_default()
}

fn figures(estimate: &Estimate) -> String {
    let Estimate {
        before_usd,
        after_usd,
        remains,
        region,
        local,
        ..
    } = estimate;
    let figures = match (before_usd, after_usd) {
        (Some(before), Some(after)) if usd(*before) == usd(*after) => usd(*after),
        (Some(before), Some(after)) => {
            let percent = (after / before - 1.0) * 100.0;
            format!("{} -> {} ({percent:+.0} %)", usd(*before), usd(*after))
        }
        (None, Some(after)) => usd(*after),
        (Some(before), None) if !remains => format!("{} -> nothing", usd(*before)),
        (_, None) => return format!("no list price in USD is known for {region}"),
    };
    match local {
        true => format!("{figures} on AWS in {region}; nothing on the local target"),
        false => figures,
    }
}

fn assumption(estimate: &Estimate) -> String {
    let Shape {
        worker_seconds_per_minute,
        assumed,
        requests_per_minute,
        ..
    } = &estimate.shape;
    // Another memory makes workers faster or slower: nobody has measured by how much.
    let alike = match estimate.before_usd == estimate.after_usd || estimate.before_usd.is_none() {
        true => "",
        false => ", before and after",
    };
    let basis = match assumed {
        true => "assumed; measure yours and set `worker_seconds_per_minute` under [render]",
        false => "as the configuration says",
    };
    format!(
        "at {worker_seconds_per_minute} seconds of workers ({basis}) and {requests_per_minute} invocations{alike}"
    )
}

fn capacity(estimate: &Estimate) -> Option<String> {
    let workers = estimate.shape.workers_per_render;
    let unreserved = estimate.unreserved_concurrency?;
    let at_once = match unreserved / workers.max(1) {
        0 => "less than one such render at once".to_owned(),
        1 => "one such render at once".to_owned(),
        renders => format!("{renders} such renders at once"),
    };
    Some(format!(
        "a long render wants {workers} workers at once; the account runs {unreserved}: {at_once}"
    ))
}

fn source(estimate: &Estimate) -> String {
    format!(
        "list prices of {} without free tier, S3 and data transfer: {}",
        estimate.prices_date, estimate.prices_source
    )
}

/// Dollars with as many digits as a minute of video needs.
pub(in crate::cli) fn usd(value: f64) -> String {
    format!("${value:.4}")
}
