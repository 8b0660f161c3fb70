//! A plan for a pull request: a comment that a pipeline can find again and replace, short whatever the plan.

use std::fmt::Write as _;

use super::advice::{preflight_markdown, preflight_text};
use super::code_size::code_size_text;
use super::cost::{cost_markdown, cost_text};
use super::plan_text::{nothing_to_do, plan_text, smoke_owed};
use super::{Totals, loss};
use crate::cli::ui::Ui;
use crate::plan::change::{Action, Change};
use crate::plan::gate::{self, Violation};
use crate::plan::request::PlanMode;
use crate::plan::saved::SavedPlan;
use crate::state::name_of_stage;

/// GitHub takes comments of 65 536 characters, GitLab of a million; some room is left for what a pipeline adds.
const CHARACTERS_MAX: usize = 60_000;

/// What the marker, the title and the ends of what is cut off need at most. Names are short: see `names.rs`.
const FRAME_CHARACTERS_MAX: usize = 2_000;

/// More rows than this are counted.
const ROWS_MAX: usize = 100;

/// The same for what would be lost, of which each is a paragraph.
const LOSSES_MAX: usize = 10;

/// The comment. Its first line is the same for every plan of a project and stage, so that it can be found again.
pub(crate) fn plan_markdown(saved: &SavedPlan) -> String {
    let SavedPlan {
        made_at,
        basis,
        request,
        plan,
        losses,
        preflight,
        cost,
        code_size,
        refusals,
    } = saved;
    let cost = cost.as_ref().filter(|_| !plan.is_empty());
    let stage = name_of_stage(basis.stage.as_ref());
    let mut text = format!(
        "<!-- rmx:plan project={} stage={stage} -->\n",
        basis.project
    );
    let totals = Totals::of(plan, request.mode);
    let title = match plan.is_empty() {
        true => "no changes".to_owned(),
        false => totals.to_string(),
    };
    let title = format!("## rmx plan: {title}\n\n");
    push(&mut text, &title);
    push(
        &mut text,
        &format!(
            "Project `{}`, stage `{stage}`, account `{}`, region `{}`.\n",
            basis.project, plan.identity.account, plan.identity.region
        ),
    );
    push(&mut text, &refused(refusals));
    if totals.destroy > 0 {
        push(
            &mut text,
            "\n> [!CAUTION]\n> This plan destroys or replaces resources.\n",
        );
    }
    for one in losses.iter().take(LOSSES_MAX) {
        let lost = loss(one);
        push(
            &mut text,
            &format!("\n> [!CAUTION]\n> Lost for ever: {lost}.\n"),
        );
    }
    if losses.len() > LOSSES_MAX {
        let more = losses.len() - LOSSES_MAX;
        push(&mut text, &format!("\nand {more} more losses.\n"));
    }
    if plan
        .changes
        .iter()
        .any(|change| !gate::widened(change).is_empty())
    {
        push(
            &mut text,
            "\n> [!WARNING]\n> This plan widens what a role may do, or gives a function another role.\n",
        );
    }
    for owed in plan.changes.iter().filter_map(smoke_owed) {
        push(&mut text, &format!("\n> [!WARNING]\n> {owed}\n"));
    }
    push(&mut text, &lifted(&plan.changes));
    push(&mut text, &preflight_markdown(preflight.as_ref()));
    if !plan.drift.is_empty() {
        let names: Vec<String> = plan
            .drift
            .iter()
            .map(|drift| format!("`{}`", drift.address))
            .collect();
        let shown = &names[..names.len().min(ROWS_MAX)];
        let more = match names.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        push(
            &mut text,
            &format!("\nChanged outside of rmx: {}{more}.\n", shown.join(", ")),
        );
    }
    if plan.is_empty() {
        push(&mut text, &format!("\n{}\n", nothing_to_do(request.mode)));
    } else {
        push(&mut text, &table(&plan.changes, request.mode));
    }
    push(&mut text, &cost_markdown(cost));
    let plain = Ui::plain();
    let details = format!(
        "{}{}{}{}",
        plan_text(plan, losses, request.mode, &plain),
        code_size_text(code_size.as_ref(), &plain),
        cost_text(cost, &plain),
        preflight_text(preflight.as_ref(), &plain)
    );
    let room = CHARACTERS_MAX.saturating_sub(text.chars().count() + FRAME_CHARACTERS_MAX);
    push(&mut text, &collapsed(&details, room));
    push(
        &mut text,
        &format!(
            "\n<sub>rmx {}, {made_at}</sub>\n",
            env!("CARGO_PKG_VERSION")
        ),
    );
    text
}

/// Why the plan is refused.
fn refused(refusals: &[Violation]) -> String {
    if refusals.is_empty() {
        return String::new();
    }
    let mut text = "\n> [!CAUTION]\n> This plan is refused:\n".to_owned();
    for one in refusals.iter().take(ROWS_MAX) {
        push(&mut text, &format!("> - {one}\n"));
    }
    if refusals.len() > ROWS_MAX {
        let more = refusals.len() - ROWS_MAX;
        push(&mut text, &format!("> - and {more} more\n"));
    }
    text
}

/// What plans after this one may destroy or replace, and may not yet.
fn lifted(changes: &[Change]) -> String {
    let lifted = changes.iter().filter(|change| change.lifts_protection());
    let names: Vec<String> = lifted
        .map(|change| format!("`{}`", change.address))
        .collect();
    let more = match names.len().saturating_sub(LOSSES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "\n> [!CAUTION]\n> This plan lifts the protection of {}{more}: the next one may destroy or replace them.\n",
            names[..names.len().min(LOSSES_MAX)].join(", ")
        ),
    }
}

fn table(changes: &[Change], mode: PlanMode) -> String {
    let changes: Vec<&Change> = changes
        .iter()
        .filter(|change| change.action != Action::NoOp)
        .collect();
    let mut text = "\n| action | resource | name |\n|---|---|---|\n".to_owned();
    for change in changes.iter().take(ROWS_MAX) {
        let word = match change.action {
            Action::NoOp => "none",
            Action::Create => "create",
            Action::Update => "update",
            Action::Replace => "**replace**",
            Action::Delete => "**destroy**",
            Action::Adopt if mode == PlanMode::RefreshOnly => "update state",
            Action::Adopt => "adopt",
            Action::Forget => "forget",
        };
        let name = super::change_name(change).unwrap_or_default();
        push(
            &mut text,
            &format!("| {word} | `{}` | `{name}` |\n", change.address),
        );
    }
    if changes.len() > ROWS_MAX {
        push(
            &mut text,
            &format!("\nand {} more.\n", changes.len() - ROWS_MAX),
        );
    }
    text
}

/// `details` behind a triangle, whole lines of it, at most `characters_max`.
fn collapsed(details: &str, characters_max: usize) -> String {
    // A line of the plan can hold what a user wrote, backticks for instance; a longer fence holds them all.
    let longest = details
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let frame = 2 * fence.len();
    let mut body = String::new();
    let mut characters = 0;
    let mut cut = 0;
    for line in details.lines() {
        let marked = diff_line(line);
        characters += marked.chars().count() + 1;
        if cut > 0 || characters + frame > characters_max {
            cut += 1;
            continue;
        }
        push(&mut body, &marked);
        body.push('\n');
    }
    let rest = match cut {
        0 => String::new(),
        lines => {
            format!("\n{lines} more lines are not shown: `rmx show PLANFILE` shows them all.\n")
        }
    };
    format!(
        "\n<details><summary>Details</summary>\n\n{fence}diff\n{body}{fence}\n{rest}\n</details>\n"
    )
}

/// The symbol of a line in the first column, where `diff` highlighting looks for it.
fn diff_line(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    if let Some(rest) = trimmed.strip_prefix("-/+ ") {
        return format!("-/+{indent} {rest}");
    }
    let (symbol, rest) = if let Some(rest) = trimmed.strip_prefix("+ ") {
        ("+", rest.to_owned())
    } else if let Some(rest) = trimmed.strip_prefix("- ") {
        ("-", rest.to_owned())
    } else if let Some(rest) = trimmed.strip_prefix("~ ") {
        ("!", rest.to_owned())
    } else {
        return line.to_owned();
    };
    format!("{symbol}{indent} {rest}")
}

fn push(text: &mut String, more: &str) {
    text.write_str(more)
        .expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::digest::Digest;
    use crate::plan::change::{Desired, Drift, Observed};
    use crate::plan::loss::{Loss, LossKind};
    use crate::plan::request::PlanRequest;
    use crate::plan::saved::Basis;
    use crate::resource::{Address, BucketSpec, Resource, ResourceKind, SiteSpec};
    use crate::state::{CloudIdentity, State};

    /// A first plan of `sites` sites of `files` files each.
    fn saved(sites: usize, files: usize) -> SavedPlan {
        let bucket = Resource::Bucket(BucketSpec {
            name: "bucket".parse().unwrap(),
            expire_renders_days: None,
            abort_uploads_days: None,
            expire_days: BTreeMap::new(),
            block_public_access: true,
            owner_enforced: true,
            public_read: false,
        });
        let sites = (0..sites).map(|index| {
            let name = format!("site-{index}");
            let files = (0..files).map(|file| (format!("```{file}"), Digest::of("file")));
            let site = Resource::Site(SiteSpec {
                name: name.parse().unwrap(),
                bucket: "bucket".parse().unwrap(),
                digest: Digest::of(&name),
                files: files.collect(),
            });
            (Address::new(ResourceKind::Site, name), site)
        });
        let bucket = (Address::new(ResourceKind::Bucket, "main"), bucket);
        let desired = Desired {
            resources: sites.chain([bucket]).collect(),
            ..Desired::default()
        };
        let observed = Observed {
            identity: CloudIdentity {
                account: "000000000000".parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
            },
            resources: BTreeMap::new(),
        };
        let state = State::fresh();
        SavedPlan {
            losses: Vec::new(),
            preflight: None,
            cost: None,
            code_size: None,
            refusals: Vec::new(),
            made_at: "2026-11-23T00:00:00Z".to_owned(),
            basis: Basis::new(&"hello".parse().unwrap(), None, Digest::of(""), &state),
            request: PlanRequest::default(),
            plan: crate::plan::make(&desired, &observed, &state).unwrap(),
        }
    }

    #[test]
    fn a_comment_is_short_whatever_the_plan() {
        let mut staged = saved(1, 1);
        staged.basis.stage = Some("default".parse().unwrap());
        let marker = "<!-- rmx:plan project=hello stage=default_stage -->\n";
        assert!(plan_markdown(&staged).starts_with(marker));
        let text = plan_markdown(&saved(1, 1));
        assert!(text.starts_with(
            "<!-- rmx:plan project=hello stage=default -->\n## rmx plan: 2 to add, 0 to change, 0 to destroy\n"
        ));
        assert!(
            text.contains("| create | `site.site-0` | `s3://bucket/sites/site-0/` |\n"),
            "{text}"
        );
        // A file's name cannot close the block that it is in.
        assert!(
            text.contains("\n````diff\n") && text.contains("\n+       file \"```0\"\n"),
            "{text}"
        );
        for (sites, files) in [(1, 5_000), (3_000, 10)] {
            let text = plan_markdown(&saved(sites, files));
            assert!(
                text.chars().count() < CHARACTERS_MAX,
                "{}",
                text.chars().count()
            );
            assert_eq!(
                text.matches("````").count(),
                if files == 10 { 2 } else { 0 }
            );
            assert!(text.ends_with("</sub>\n") && text.contains("\n</details>\n"));
        }
        // Everything that a plan can tell at once, each as long as it can be.
        let mut full = saved(3_000, 10);
        full.losses = vec![
            Loss {
                address: Address::new(ResourceKind::Bucket, "main"),
                kind: LossKind::Objects,
                count: u64::MAX,
                complete: false,
                size_bytes: u64::MAX,
                example: Some("\u{1f39e}".repeat(1024)),
            };
            200
        ];
        let changes = full.plan.changes.clone();
        full.plan.drift = changes
            .into_iter()
            .map(|change| Drift {
                address: change.address,
                deleted: false,
                fields: change.fields,
            })
            .collect();
        let text = plan_markdown(&full);
        let characters = text.chars().count();
        assert!(characters < CHARACTERS_MAX, "{characters}");
        assert!(text.contains("\nand 190 more losses.\n") && text.ends_with("</sub>\n"));
        assert!(text.contains("` and 2901 more.\n"), "drift is counted, too");
        // What is cut is closed all the same.
        let lost = text
            .lines()
            .find(|line| line.starts_with("> Lost for ever:"));
        let lost = lost.unwrap_or_default();
        assert!(
            lost.ends_with("\u{2026}`.") && lost.matches('`').count() == 2,
            "{lost}"
        );

        // A name that others chose says nothing of its own.
        full.losses.truncate(1);
        full.losses[0].example = Some("a`\n> [!NOTE]\n> approved \u{1b}[2J".to_owned());
        let text = plan_markdown(&full);
        let told = "such as `a\\u{60}\\n> [!NOTE]\\n> approved \\u{1b}[2J`.\n";
        assert!(
            text.contains(told) && !text.contains("\n> [!NOTE]"),
            "{}",
            &text[..2000]
        );

        assert!(plan_markdown(&saved(3_000, 10)).contains(" more lines are not shown"));
        assert!(plan_markdown(&saved(3_000, 10)).contains("\nand 2901 more.\n"));
    }
}
