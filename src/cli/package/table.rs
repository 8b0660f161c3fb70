//! What a package is made of, as a table: for people, and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::package::{Manifest, Part};
use crate::bundle::{FunctionPackage, PackageRules, PackageSource, UNZIPPED_BYTES_MAX};

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::error::{NOT_SHOWN, told_under};

/// A worker that is larger was built for this machine, with its symbols.
const STRIPPED_WORKER_BYTES_MAX: u64 = 30_000_000;

/// `rmx package show`.
pub(super) fn cmd_show(context: &Context, folder: &Path) -> Result<ExitStatus, CommandError> {
    let manifest = Manifest::load(folder).map_err(told_under(NOT_SHOWN))?;
    show(context, folder, &manifest)
}

/// Prints the package in `folder`: components and sizes, and where there is a program to start, its zip.
pub(super) fn show(
    context: &Context,
    folder: &Path,
    manifest: &Manifest,
) -> Result<ExitStatus, CommandError> {
    let zip = match folder.join("bootstrap").is_file() {
        true => Some(zip(context, folder, manifest)?),
        false => None,
    };
    let zipped = match &zip {
        Some(zip) => zip.zipped_sizes()?,
        None => BTreeMap::new(),
    };
    if context.ui.json() {
        context
            .ui
            .print_json(&document(folder, manifest, zip.as_ref(), &zipped))?;
        return Ok(ExitStatus::Success);
    }
    context.ui.print_raw(&table(manifest, &zipped))?;
    match zip {
        Some(zip) => {
            context
                .ui
                .print(format_args!("\nThe zip's SHA-256 is {}.", zip.code_sha256))?;
            context.ui.say(format_args!(
                "Next: `package = \"{}\"` under [function], then `rmx plan`.",
                folder.display()
            ));
        }
        None => context
            .ui
            .say("There is no worker in it: it can be published as a layer."),
    }
    Ok(ExitStatus::Success)
}

/// What Lambda would not unzip, with what could be left out.
pub(super) fn too_large(manifest: &Manifest) -> CommandError {
    let over = manifest.size_bytes().saturating_sub(UNZIPPED_BYTES_MAX);
    CommandError::error("The function package is too large for Lambda")
        .detail(format!(
            "It is {} MB too large, and nothing was written:\n{}",
            megabytes(over),
            table(manifest, &BTreeMap::new()).trim_end()
        ))
        .hint(smaller(manifest, over))
}

/// What could be left out of a package that has `over` bytes too many.
pub(super) fn smaller(manifest: &Manifest, over: u64) -> String {
    let is_worker = |part: &&Part| part.files.contains_key("bootstrap");
    let mut enough: Vec<&Part> = manifest
        .components
        .iter()
        .filter(|part| part.size_bytes >= over && !is_worker(part))
        .collect();
    enough.sort_by_key(|part| part.size_bytes);
    let worker = manifest.components.iter().find(is_worker);
    match (worker, enough.first()) {
        (Some(worker), _) if worker.size_bytes > STRIPPED_WORKER_BYTES_MAX => format!(
            "the worker has {} MB: `scripts/build-worker` makes one of about 18, for --worker",
            megabytes(worker.size_bytes)
        ),
        (_, Some(part)) => format!(
            "`--without {}` would be enough; what a layer brings counts too",
            part.name
        ),
        (_, None) => "leave out more than one component".to_owned(),
    }
}

/// The zip that a plan would upload, kept where a plan looks for it.
fn zip(
    context: &Context,
    folder: &Path,
    manifest: &Manifest,
) -> Result<FunctionPackage, CommandError> {
    let rules = PackageRules {
        architecture: &manifest.architecture,
        unzipped_bytes_max: None,
    };
    let source = PackageSource::Folder(folder.to_owned());
    let cache = context.path(".rmx/cache".as_ref());
    Ok(FunctionPackage::build(&source, rules, &cache)?)
}

fn table(manifest: &Manifest, zipped: &BTreeMap<String, u64>) -> String {
    let width = |text: fn(&Part) -> &str, heading: &str| {
        let widths = manifest.components.iter().map(|part| text(part).len());
        widths.max().unwrap_or(0).max(heading.len())
    };
    let names = width(|part| &part.name, "component");
    let versions = width(|part| &part.version, "version");
    let mut text = String::new();
    let mut line =
        |name: &str, version: &str, size: &str, share: &str, zipped: &str, licence: &str| {
            let line = format!(
                "{name:names$}  {version:versions$}  {size:>11}  {share:>6}  {zipped:>9}  {licence}"
            );
            text += line.trim_end();
            text.push('\n');
        };
    let share = |bytes: u64| format!("{} %", (bytes * 200 / UNZIPPED_BYTES_MAX).div_ceil(2));
    let mega = |bytes: u64| format!("{} MB", megabytes(bytes));
    line(
        "component",
        "version",
        "unzipped",
        "share",
        "zipped",
        "licence",
    );
    for part in sorted(manifest) {
        let (size, packed) = (part.size_bytes, zipped_bytes(part, zipped));
        let packed = packed.map(mega).unwrap_or_default();
        line(
            &part.name,
            &part.version,
            &mega(size),
            &share(size),
            &packed,
            &part.licence,
        );
    }
    let size = manifest.size_bytes();
    let all: u64 = zipped.values().sum();
    let all = if all == 0 { String::new() } else { mega(all) };
    line("in all", "", &mega(size), &share(size), &all, "");
    text += &format!(
        "Lambda unzips {} MB at most, layers included.\n",
        megabytes(UNZIPPED_BYTES_MAX)
    );
    text
}

/// Largest first.
fn sorted(manifest: &Manifest) -> Vec<&Part> {
    let mut parts: Vec<&Part> = manifest.components.iter().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.size_bytes));
    parts
}

/// `None` where there is no zip.
fn zipped_bytes(part: &Part, zipped: &BTreeMap<String, u64>) -> Option<u64> {
    if zipped.is_empty() {
        return None;
    }
    let sizes = part.files.keys().map(|path| zipped.get(path));
    sizes.sum()
}

/// Millions of bytes, one digit behind the point: `12.3`.
fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10)
}

fn document(
    folder: &Path,
    manifest: &Manifest,
    zip: Option<&FunctionPackage>,
    zipped: &BTreeMap<String, u64>,
) -> Value {
    let components: Vec<Value> = sorted(manifest)
        .into_iter()
        .map(|part| {
            json!({
                "name": part.name,
                "version": part.version,
                "sha256": part.sha256,
                "licence": part.licence,
                "home": part.home,
                "size_bytes": part.size_bytes,
                "zipped_bytes": zipped_bytes(part, zipped),
                "files": part.files.keys().collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "format_version": "1.0",
        "folder": folder.display().to_string(),
        "architecture": manifest.architecture,
        "size_bytes": manifest.size_bytes(),
        "size_bytes_max": UNZIPPED_BYTES_MAX,
        "zip": zip.map(|zip| json!({
            "sha256": zip.code_sha256,
            "size_bytes": zip.size_bytes,
        })),
        "components": components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(sizes: &[(&str, u64)]) -> Manifest {
        let part = |(name, size_bytes): &(&str, u64)| Part {
            name: (*name).to_owned(),
            version: "1.0".to_owned(),
            sha256: None,
            licence: "MIT".to_owned(),
            home: "-".to_owned(),
            size_bytes: *size_bytes,
            files: match *name {
                "worker" => [("bootstrap".to_owned(), crate::digest::Digest::of(""))].into(),
                _ => BTreeMap::new(),
            },
        };
        Manifest {
            format_version: 1,
            architecture: "x86_64".to_owned(),
            components: sizes.iter().map(part).collect(),
        }
    }

    #[test]
    fn what_lambda_would_not_unzip_is_refused_with_what_could_be_left_out() {
        let most = UNZIPPED_BYTES_MAX;
        let ui = crate::cli::ui::Ui::plain();
        let told = |sizes: &[(&str, u64)]| too_large(&manifest(sizes)).render(&ui);
        let text = told(&[
            ("worker", 30_000_000),
            ("chromium", most - 20_000_000),
            ("emoji", 11_000_000),
            ("cjk", 4_000_000),
        ]);
        assert!(text.contains("It is 25.0 MB too large"), "{text}");
        assert!(
            text.contains("`--without chromium` would be enough"),
            "{text}"
        );
        assert!(text.contains("emoji      1.0"), "{text}");
        let text = told(&[
            ("worker", 18_000_000),
            ("chromium", most - 23_000_000),
            ("cjk", 4_000_000),
            ("emoji", 11_000_000),
        ]);
        assert!(text.contains("`--without emoji` would be enough"), "{text}");
        let text = told(&[("worker", 9), ("cjk", most), ("emoji", most)]);
        assert!(text.contains("leave out more than one"), "{text}");
        // It is the worker itself.
        let text = told(&[("worker", 42_000_000), ("chromium", most - 20_000_000)]);
        assert!(
            text.contains("the worker has 42.0 MB: `scripts/build-worker`"),
            "{text}"
        );
    }

    #[test]
    fn a_table_tells_shares_of_what_lambda_unzips() {
        let text = table(
            &manifest(&[("worker", 23_600_000), ("chromium", 199_800_000)]),
            &BTreeMap::new(),
        );
        assert_eq!(
            text,
            "\
component  version     unzipped   share     zipped  licence
chromium   1.0         199.8 MB    76 %             MIT
worker     1.0          23.6 MB     9 %             MIT
in all                 223.4 MB    85 %
Lambda unzips 262.1 MB at most, layers included.
"
        );
    }
}
