//! `[function] worker`: whose worker the function is, and what does not go with Remotion's.

use super::problem::Problem;
use super::tree::{Entry, Table};
use crate::names::{BucketName, FunctionName};

/// Whose worker the function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerKind {
    /// rmx's own.
    Rmx,
    /// Remotion's own function, from the project's `node_modules`.
    Remotion,
}

impl WorkerKind {
    /// What `[function]` says of it.
    pub(super) fn of(function: &Table) -> Self {
        match function.text("worker") {
            Some("remotion") => Self::Remotion,
            Some(_) | None => Self::Rmx,
        }
    }
}

/// Notes what was said that Remotion's function has no use for, or does not work with.
pub(super) fn check(root: &Table, problems: &mut Vec<Problem>) {
    let empty = Table::default();
    let table = |name| root.table(name).unwrap_or(&empty);
    let (function, bucket, local) = (table("function"), table("bucket"), table("local"));
    let (WorkerKind::Remotion, Some(worker)) = (WorkerKind::of(function), function.entry("worker"))
    else {
        return;
    };
    let mut refuse = |entry: Option<&Entry>, refused: bool, why: &str, help: &str| {
        if let Some(entry) = entry.filter(|_| refused) {
            let summary = format!("`{}` does not go with Remotion's function", entry.name);
            let problem = Problem::new(summary, &entry.node.span, why);
            problems.push(problem.other(&worker.node.span, "chosen here").help(help));
        }
    };
    let begins = |table: &Table, name: &str, prefix: &str| {
        table.text(name).is_none_or(|text| text.starts_with(prefix))
    };
    let mut of_function = |name: &str, refused: bool, why: &str, help: &str| {
        refuse(function.entry(name), refused, why, help);
    };
    of_function(
        "architecture",
        function.text("architecture") == Some("x86_64"),
        "it is for arm64",
        "leave `architecture` out",
    );
    of_function(
        "replicas",
        function.whole::<u32>("replicas") != Some(1),
        "it finds its workers by its own name",
        "leave `replicas` out",
    );
    of_function(
        "package",
        true,
        "its code is in node_modules/@remotion/lambda",
        "leave `package` out, or choose `worker = \"rmx\"`",
    );
    of_function(
        "smoke",
        function.switch("smoke") == Some(true),
        "it does not know the built-in composition",
        "leave `smoke` out; a render of your own with `rmx render` tells as much",
    );
    of_function(
        "name",
        !begins(function, "name", FunctionName::REMOTION_PREFIX),
        "its role may invoke only what begins with remotion-render-",
        "begin it with remotion-render-, or leave `name` out",
    );
    refuse(
        bucket.entry("name"),
        !begins(bucket, "name", BucketName::REMOTION_PREFIX),
        "its role may use only what begins with remotionlambda-",
        "begin it with remotionlambda-, or leave `name` out",
    );
    refuse(
        local.entry("isolate"),
        local.switch("isolate") == Some(true),
        "an isolated function reaches no site, and it fetches them as a browser does",
        "leave `isolate` out: on the embedded cloud it has a root of its own in any case",
    );
}
