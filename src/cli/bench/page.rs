//! A measurement as one page that needs nothing else: no script, no address, figures and drawings in it.

use std::fmt::Write as _;

use crate::cli::render::view::{counted, duration};
use crate::cli::view::usd;

use super::report::Report;

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } caption { text-align: left; color: #57606a }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #d0d7de } th:first-child, td:first-child { text-align: left }
svg { width: 100%; height: auto } text { font-size: 13px; fill: #57606a } .bar { fill: #2f6feb } .cold { fill: #2f6feb } .warm { fill: #d29922 } .axis { stroke: #8d96a0; fill: none }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } th, td { border-color: #30363d } text, caption { fill: #8d96a0; color: #8d96a0 } }";

/// Width of drawings, in their own units.
const WIDTH: f64 = 800.0;

/// What is left of it for bars and dots, between the names and the figures.
const NAMES_WIDTH: f64 = 110.0;
const FIGURES_WIDTH: f64 = 90.0;

const ROW_HEIGHT: f64 = 28.0;

/// What the dots are drawn over.
const START_AXIS: &str = "from the invocation to the first picture";

/// The page.
pub(super) fn page(report: &Report<'_>) -> String {
    let title = match report.stage {
        Some(stage) => format!("{} ({stage})", report.project),
        None => report.project.to_owned(),
    };
    let title = escaped(&title);
    let function = &report.function;
    let what = format!(
        "{} frames of <b>{}</b> in each render, on {} in {}: {} with {} MB of memory and {} MB of disk. Measured on {} with rmx {}.",
        report.frames,
        escaped(report.composition),
        match report.target {
            "aws" => "AWS",
            _ => "the embedded cloud of one machine",
        },
        escaped(report.region),
        escaped(function.architecture),
        function.memory_mb,
        function.disk_mb,
        escaped(&report.measured_at),
        report.rmx_version,
    );
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>rmx bench: {title}</title>\n<style>{STYLE}</style>\n<h1>Render farm {title}</h1>\n<p>{what}</p>\n\
         <h2>Wall time by number of workers</h2>\n{}{}\
         <h2>Starts</h2>\n{}{}\
         <h2>Cost</h2>\n<p>{}</p>\n</html>\n",
        bars(report),
        workers_table(report),
        dots(report),
        starts_table(report),
        escaped(&report.cost.sentence()),
    )
}

/// Text in place of which no markup is meant.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// How long a bar of `value` is where the longest has `max`.
fn extent(value: u64, max: u64) -> f64 {
    (WIDTH - NAMES_WIDTH - FIGURES_WIDTH) * value as f64 / max.max(1) as f64
}

fn drawing(rows: usize, label: &str, body: &str) -> String {
    let height = ROW_HEIGHT * rows as f64;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n"
    )
}

fn bars(report: &Report<'_>) -> String {
    let rows = &report.by_workers;
    let longest = rows.iter().map(|row| row.wall.p50_ms).max().unwrap_or(0);
    let mut body = String::new();
    for (index, row) in rows.iter().enumerate() {
        let top = ROW_HEIGHT * index as f64;
        let length = extent(row.wall.p50_ms, longest);
        let _ = writeln!(
            body,
            "<text x=\"0\" y=\"{:.1}\">{}</text><rect class=\"bar\" x=\"{NAMES_WIDTH}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"18\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            top + 18.0,
            counted(u64::from(row.workers), "worker", "workers"),
            top + 4.0,
            NAMES_WIDTH + length + 8.0,
            top + 18.0,
            duration(row.wall.p50_ms),
        );
    }
    drawing(rows.len(), "Wall time by number of workers", &body)
}

/// A dot for each start, where its first picture was there; nothing where no start is known.
fn dots(report: &Report<'_>) -> String {
    let starts: Vec<(bool, u64)> = report
        .renders
        .iter()
        .flat_map(|render| &render.invocations)
        .filter_map(|one| Some((one.warm?, one.first_picture_ms()?)))
        .collect();
    let Some(longest) = starts.iter().map(|(_, took_ms)| *took_ms).max() else {
        return String::new();
    };
    let mut body = String::new();
    for (row, (warm, class)) in [(false, "cold"), (true, "warm")].into_iter().enumerate() {
        let middle = ROW_HEIGHT * (row as f64 + 0.5);
        let _ = writeln!(
            body,
            "<text x=\"0\" y=\"{:.1}\">{class}</text>",
            middle + 4.0
        );
        for (_, took_ms) in starts.iter().filter(|(is_warm, _)| *is_warm == warm) {
            let x = NAMES_WIDTH + extent(*took_ms, longest);
            let _ = writeln!(
                body,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"5\" fill-opacity=\".5\"><title>{}</title></circle>",
                duration(*took_ms)
            );
        }
    }
    let (end, line) = (NAMES_WIDTH + extent(longest, longest), 2.0 * ROW_HEIGHT);
    let _ = writeln!(
        body,
        "<path class=\"axis\" d=\"M{NAMES_WIDTH} {line}H{end:.1}m0 -4v8M{NAMES_WIDTH} {0}v8\"/>\
         <text x=\"{NAMES_WIDTH}\" y=\"{1}\">{2}</text>\
         <text x=\"{3:.1}\" y=\"{1}\" text-anchor=\"middle\">{START_AXIS}</text>\
         <text x=\"{end:.1}\" y=\"{1}\" text-anchor=\"end\">{4}</text>",
        line - 4.0,
        line + 20.0,
        duration(0),
        (NAMES_WIDTH + end) / 2.0,
        duration(longest),
    );
    drawing(3, START_AXIS, &body)
}

fn workers_table(report: &Report<'_>) -> String {
    let rows = report.by_workers.iter().map(|row| {
        vec![
            row.workers.to_string(),
            row.runs.to_string(),
            duration(row.wall.p50_ms),
            duration(row.wall.max_ms),
            format!("{:.1}", row.frames_per_second),
            format!("{:.2}", row.speed_up),
            format!("{:.1}", row.worker_seconds),
            row.usd.map_or("-".to_owned(), usd),
        ]
    });
    table(
        "Frames a second are those of the render in the middle; worker seconds and cost are means of all renders. Speed-up: against the fewest workers.",
        &[
            "workers",
            "renders",
            "wall time (middle)",
            "wall time (longest)",
            "frames/s",
            "speed-up",
            "worker seconds",
            "cost",
        ],
        rows,
    )
}

fn starts_table(report: &Report<'_>) -> String {
    let rows = report.starts().into_iter().filter_map(|(name, times)| {
        let times = times?;
        let shown = [
            times.min_ms,
            times.p50_ms,
            times.p90_ms,
            times.p99_ms,
            times.max_ms,
        ];
        let mut row = vec![name.to_owned(), times.count.to_string()];
        row.extend(shown.map(duration));
        Some(row)
    });
    table(
        "Each from the invocation, as whoever invoked saw it. Cold: in a new environment; warm: in one that had worked before.",
        &["start", "count", "shortest", "p50", "p90", "p99", "longest"],
        rows,
    )
}

fn table(caption: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        let cells = cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: String = rows.map(|row| cells("td", &row)).collect();
    format!(
        "<table>\n<caption>{}</caption>\n{}{rows}</table>\n",
        escaped(caption),
        cells("th", &heads)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_in_the_page() {
        assert_eq!(
            escaped("<script>\"a\" & b</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; b&lt;/script&gt;"
        );
        assert!(
            table("", &[], std::iter::once(vec!["<b>".to_owned()])).contains("<td>&lt;b&gt;</td>")
        );
    }

    #[test]
    fn the_longest_bar_fills_its_room_and_nothing_divides_by_zero() {
        assert!((extent(10, 10) - (WIDTH - NAMES_WIDTH - FIGURES_WIDTH)).abs() < 1e-9);
        assert!((extent(5, 10) * 2.0 - extent(10, 10)).abs() < 1e-9);
        assert!(extent(0, 0).abs() < 1e-9);
    }
}
