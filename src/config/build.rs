//! From a checked tree, overlay applied, to [`Config`]: the rules that span several keys, then the values.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::nearest;
use super::environment::secret_source;
use super::problem::Problem;
use super::tree::{Span, Table, Value};
use super::{
    Architecture, BucketConfig, Config, EnvironmentValue, FunctionConfig, LoadOptions, LogsConfig,
    PolicyConfig, RenderDefaults, RoleConfig, SiteConfig, Target, VpcConfig, WorkerKind,
};
use super::{local, state};
use crate::digest::Digest;
use crate::names::StageName;

/// Notes site names that appear twice among `[[site]]` tables that are written side by side.
pub(super) fn duplicate_sites(table: &Table, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
    for (_, site) in table.tables("site") {
        let (Some(name), Some(entry)) = (site.text("name"), site.entry("name")) else {
            continue;
        };
        match seen.get(name) {
            Some(first) => problems.push(
                Problem::new(
                    "two sites have the same name",
                    &entry.node.span,
                    format!("`{name}` again"),
                )
                .other(first, "first here")
                .help("give each `[[site]]` a name of its own"),
            ),
            None => {
                seen.insert(name, &entry.node.span);
            }
        }
    }
}

/// Notes a `render.site` that names no site.
pub(super) fn render_site(root: &Table, problems: &mut Vec<Problem>) {
    let Some(render) = root.table("render") else {
        return;
    };
    let (Some(name), Some(entry)) = (render.text("site"), render.entry("site")) else {
        return;
    };
    let names: Vec<_> = root
        .tables("site")
        .filter_map(|(_, site)| site.text("name"))
        .collect();
    if !names.contains(&name) {
        let help = match nearest(name, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "declare it with `[[site]]`".to_owned(),
            None => format!("the sites are: {}", names.join(", ")),
        };
        problems.push(
            Problem::new(
                "`site` in `[render]` names no site",
                &entry.node.span,
                format!("there is no site `{name}`"),
            )
            .help(help),
        );
    }
}

/// Notes functions that would be isolated with nothing to draw or encode with.
pub(super) fn isolated_package(root: &Table, problems: &mut Vec<Problem>) {
    let Some(local) = root.table("local") else {
        return;
    };
    let function = root.table("function");
    if function.map(WorkerKind::of) == Some(WorkerKind::Remotion) {
        return;
    }
    let named = function.and_then(|function| function.text("package"));
    if let (Some(true), Some(entry), None) =
        (local.switch("isolate"), local.entry("isolate"), named)
    {
        problems.push(
            Problem::new(
                "`isolate` in `[local]` needs a function package",
                &entry.node.span,
                "nothing of this machine is there for an isolated function".to_owned(),
            )
            .help("build one with `rmx package build`, and name it: `package` under [function]"),
        );
    }
}

/// Notes folders that are not there, or are not what they should be. A site with a `build` is not looked at,
/// since its folder is made later.
pub(super) fn folders(root: &Table, directory: &Path, problems: &mut Vec<Problem>) {
    let mut need = |table: &Table, key: &str, file: &str, help: &str| {
        let (Some(folder), Some(entry)) = (table.text(key), table.entry(key)) else {
            return;
        };
        let path = directory.join(folder);
        let (summary, label) = if !path.is_dir() {
            let what = if path.exists() { "a file" } else { "missing" };
            (
                format!("`{key}` is not a folder"),
                format!("{} is {what}", path.display()),
            )
        } else if !path.join(file).is_file() {
            (
                format!("a folder holds no `{file}`"),
                format!("{} holds none", path.display()),
            )
        } else {
            return;
        };
        problems.push(Problem::new(summary, &entry.node.span, label).help(help));
    };
    for (_, site) in root.tables("site") {
        if site.text("build").is_none() {
            let help =
                "name the folder of a built bundle, or add `build` with the command that makes it";
            need(site, "folder", "index.html", help);
        }
    }
    if let Some(function) = root.table("function") {
        let help = "name a folder that holds the function's `bootstrap`, or remove `package`";
        need(function, "package", "bootstrap", help);
    }
}

/// The config. `root` has been checked: what is absent takes its default.
///
/// `None` if it has not been, and holds what it may not.
pub(super) fn config(
    root: &Table,
    stage: Option<StageName>,
    text: &str,
    options: &LoadOptions,
) -> Option<Config> {
    let empty = Table::default();
    let table = |name: &str| root.table(name).unwrap_or(&empty);
    let target = match root.text("target") {
        Some("aws") => Target::Aws,
        _ => Target::Local,
    };
    let directory = options.directory();
    let stage_name = stage.as_ref().map_or("", StageName::as_str);
    let bucket = table("bucket");
    let logs = table("logs");
    let region = match root.text("region") {
        Some(region) => region.parse().ok()?,
        None => "us-east-1".parse().ok()?,
    };
    Some(Config {
        path: options.path.clone(),
        digest: Digest::of(format!("{stage_name}\n{text}")),
        project: root.parsed("project")?,
        stage,
        target,
        state: state::config(root, &region)?,
        region,
        account: root.parsed("account"),
        local: local::config(table("local")),
        function: function(table("function"), target, directory),
        role: role(table("role")),
        bucket: BucketConfig {
            name: bucket.parsed("name"),
            expire_renders_days: bucket.whole("expire_renders_days"),
            force_destroy: bucket.switch("force_destroy").unwrap_or(false),
            protect: protect(bucket),
        },
        logs: match logs.switch("managed") {
            Some(false) => LogsConfig::Unmanaged,
            _ => LogsConfig::Managed {
                retention_days: logs.whole("retention_days").unwrap_or(14),
                protect: protect(logs),
            },
        },
        policy: PolicyConfig {
            deny: table("policy")
                .texts("deny")
                .iter()
                .filter_map(|rule| rule.parse().ok())
                .collect(),
            max_cost_per_minute_usd: table("policy").number("max_cost_per_minute_usd"),
        },
        sites: root
            .tables("site")
            .map(|(_, site)| {
                Some(SiteConfig {
                    name: site.parsed("name")?,
                    folder: directory.join(site.text("folder")?),
                    build: site.text("build").map(str::to_owned),
                    protect: protect(site),
                })
            })
            .collect::<Option<_>>()?,
        render: render(table("render")),
        directory: directory.to_owned(),
    })
}

fn function(table: &Table, target: Target, directory: &Path) -> FunctionConfig {
    let worker = WorkerKind::of(table);
    FunctionConfig {
        worker,
        name: table.parsed("name"),
        memory_mb: table.whole("memory_mb").unwrap_or(2_048),
        timeout_s: table.whole("timeout_s").unwrap_or(240),
        disk_mb: table.whole("disk_mb").unwrap_or(2_048),
        architecture: match (table.text("architecture"), target) {
            (Some("x86_64"), _) => Architecture::X86_64,
            (None, Target::Local) if worker == WorkerKind::Rmx => Architecture::of_this_machine(),
            (Some(_) | None, _) => Architecture::Arm64,
        },
        replicas: table.whole("replicas").unwrap_or(1),
        environment: environment(table.table("environment")),
        layers: table.texts("layers"),
        vpc: table.table("vpc").map(|vpc| VpcConfig {
            subnet_ids: sorted(vpc.texts("subnet_ids")),
            security_group_ids: sorted(vpc.texts("security_group_ids")),
        }),
        package: table.text("package").map(|folder| directory.join(folder)),
        remotion_version: table
            .text("remotion_version")
            .unwrap_or("4.0.527")
            .to_owned(),
        keep_versions: table.whole("keep_versions").unwrap_or(5),
        smoke: table.switch("smoke").unwrap_or(false),
        protect: protect(table),
    }
}

fn protect(table: &Table) -> Option<bool> {
    table.switch("protect")
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts.dedup();
    texts
}

fn environment(table: Option<&Table>) -> BTreeMap<String, EnvironmentValue> {
    table
        .into_iter()
        .flat_map(|table| &table.entries)
        .filter_map(|entry| {
            let value = match &entry.node.value {
                Value::Text(text) => EnvironmentValue::Plain(text.clone()),
                Value::Table(reference) => secret_source(reference)?,
                _ => return None,
            };
            Some((entry.name.clone(), value))
        })
        .collect()
}

fn role(table: &Table) -> RoleConfig {
    match table.text("arn") {
        Some(arn) => RoleConfig::Existing {
            arn: arn.to_owned(),
        },
        None => RoleConfig::Managed {
            name: table.parsed("name"),
            permissions_boundary: table.text("permissions_boundary").map(str::to_owned),
            path: table.text("path").unwrap_or("/").to_owned(),
            protect: protect(table),
        },
    }
}

fn render(table: &Table) -> RenderDefaults {
    RenderDefaults {
        site: table.parsed("site"),
        codec: table.parsed("codec"),
        crf: table.whole("crf"),
        x264_preset: table.parsed("x264_preset"),
        pixel_format: table.parsed("pixel_format"),
        image_format: table.parsed("image_format"),
        jpeg_quality: table.whole("jpeg_quality").unwrap_or(80),
        scale: table.number("scale").unwrap_or(1.0),
        frames_per_lambda: table.whole("frames_per_lambda"),
        concurrency: table.whole("concurrency"),
        worker_seconds_per_minute: table.whole("worker_seconds_per_minute"),
        timeout_ms: table.whole("timeout_ms").unwrap_or(30_000),
        max_retries: table.whole("max_retries").unwrap_or(1),
    }
}
