//! The model: what is asked for, and what must be there when it is done.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use rmx::local::{FaultKind, Moment};

use super::world::World;

/// The account and region of the cloud.
pub(super) const PLACE: &str = "123456789012-eu-central-1";

/// A role that somebody else made, which functions may run as.
pub(super) const THEIR_ROLE: &str = "somebodys-role";

/// One edit of the configuration, what somebody does then, and how the apply after that goes.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) wish: Wish,
    pub(super) drifts: Vec<Drift>,
    pub(super) trouble: Option<(Trouble, u64)>,
}

/// What a configuration asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) memory_mb: u32,
    pub(super) timeout_s: u32,
    pub(super) level: Option<u8>,
    pub(super) code: u8,
    pub(super) replicas: usize,
    pub(super) own_role: bool,
    pub(super) retention_days: Option<u32>,
    pub(super) expire_renders_days: Option<u32>,
    pub(super) other_bucket: bool,
    /// Which version of which site.
    pub(super) sites: BTreeMap<&'static str, u8>,
}

/// What somebody may do behind rmx's back. Without an effect where there is nothing to do it to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Drift {
    DeleteLogGroup,
    /// Deletes the log group and makes one of the same name without rmx's tag.
    SquatLogGroup,
    Retention,
    DeleteRole,
    RolePolicy,
    DeleteFunction,
    Memory,
    Alias,
    Lifecycle,
    PublicAccess,
    SpoilFile,
    DeleteFile,
    AddFile,
    DeleteManifest,
    DeleteBucket,
}

/// What goes wrong with an apply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Trouble {
    /// The process is gone, before or after the call had its effect.
    Killed(Moment),
    /// The cloud fails once.
    Failed(Moment, FaultKind),
}

pub(super) fn round() -> impl Strategy<Value = Round> {
    let drift = prop_oneof![
        Just(Drift::DeleteLogGroup),
        Just(Drift::SquatLogGroup),
        Just(Drift::Retention),
        Just(Drift::DeleteRole),
        Just(Drift::RolePolicy),
        Just(Drift::DeleteFunction),
        Just(Drift::Memory),
        Just(Drift::Alias),
        Just(Drift::Lifecycle),
        Just(Drift::PublicAccess),
        Just(Drift::SpoilFile),
        Just(Drift::DeleteFile),
        Just(Drift::AddFile),
        Just(Drift::DeleteManifest),
        Just(Drift::DeleteBucket),
    ];
    let trouble = prop_oneof![
        Just(Trouble::Killed(Moment::Before)),
        Just(Trouble::Killed(Moment::After)),
        Just(Trouble::Failed(Moment::After, FaultKind::Lost)),
        Just(Trouble::Failed(Moment::Before, FaultKind::Unavailable)),
        Just(Trouble::Failed(Moment::After, FaultKind::Unavailable)),
        Just(Trouble::Failed(Moment::Before, FaultKind::Throttled)),
    ];
    let trouble = proptest::option::of((trouble, 1..70_u64));
    let drifts = proptest::collection::vec(drift, 0..3);
    (wish(), drifts, trouble).prop_map(|(wish, drifts, trouble)| Round {
        wish,
        drifts,
        trouble,
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    let sites = (
        proptest::option::of(0..3_u8),
        proptest::option::weighted(0.3, 0..3_u8),
    );
    let sites = sites.prop_map(|(one, two)| {
        let sites = [("one", one), ("two", two)];
        let sites = sites.into_iter();
        sites
            .filter_map(|(name, version)| Some((name, version?)))
            .collect()
    });
    let function = (
        prop_oneof![Just(1024_u32), Just(2048), Just(3008)],
        prop_oneof![Just(60_u32), Just(900)],
        proptest::option::of(0..2_u8),
        0..2_u8,
        prop_oneof![4 => Just(1_usize), 1 => Just(2)],
    );
    let others = (
        proptest::bool::weighted(0.8),
        proptest::option::weighted(0.8, prop_oneof![Just(7_u32), Just(30)]),
        proptest::option::of(prop_oneof![Just(1_u32), Just(3)]),
        proptest::bool::weighted(0.2),
        sites,
    );
    (function, others).prop_map(|(function, others)| {
        let (memory_mb, timeout_s, level, code, replicas) = function;
        let (own_role, retention_days, expire_renders_days, other_bucket, sites) = others;
        Wish {
            memory_mb,
            timeout_s,
            level,
            code,
            replicas,
            own_role,
            retention_days,
            expire_renders_days,
            other_bucket,
            sites,
        }
    })
}

/// The files of a version of a site, some the same in several.
pub(super) fn files(version: u8) -> Vec<(&'static str, &'static str)> {
    match version {
        0 => vec![("index.html", "<p>0</p>"), ("a.js", "a"), ("b/c.js", "c")],
        1 => vec![("index.html", "<p>1</p>"), ("a.js", "a")],
        _ => vec![
            ("index.html", "<p>0</p>"),
            ("b/c.js", "other"),
            ("d.js", "d"),
        ],
    }
}

/// The `bootstrap` of a version of the code.
pub(super) fn bootstrap(code: u8) -> String {
    format!("#!/bin/sh\nexit {code}\n")
}

impl Wish {
    /// The configuration that asks for it.
    pub(super) fn toml(&self) -> String {
        let Self {
            memory_mb,
            timeout_s,
            replicas,
            code,
            ..
        } = self;
        let mut text = format!(
            "project = \"life\"\nregion = \"eu-central-1\"\n[function]\nmemory_mb = {memory_mb}\ntimeout_s = {timeout_s}\n\
             replicas = {replicas}\npackage = \"code-{code}\"\narchitecture = \"x86_64\"\n"
        );
        let mut add = |more: String| text.write_str(&more).unwrap();
        if let Some(level) = self.level {
            add(format!("environment = {{ LEVEL = \"{level}\" }}\n"));
        }
        if !self.own_role {
            add(format!(
                "[role]\narn = \"arn:aws:iam::123456789012:role/{THEIR_ROLE}\"\n"
            ));
        }
        add(match self.retention_days {
            Some(days) => format!("[logs]\nretention_days = {days}\n"),
            None => "[logs]\nmanaged = false\n".to_owned(),
        });
        add("[bucket]\n".to_owned());
        if self.other_bucket {
            add("name = \"another-bucket\"\n".to_owned());
        }
        if let Some(days) = self.expire_renders_days {
            add(format!("expire_renders_days = {days}\n"));
        }
        for (name, version) in &self.sites {
            add(format!(
                "[[site]]\nname = \"{name}\"\nfolder = \"site-{version}\"\n"
            ));
        }
        text
    }

    pub(super) fn bucket(&self) -> String {
        match self.other_bucket {
            true => "another-bucket".to_owned(),
            false => format!("rmx-life-{PLACE}"),
        }
    }

    /// What there is when it is done, beside what is somebody else's.
    pub(super) fn world(&self) -> World {
        let mut world = World::new();
        let bucket = self.bucket();
        if let Some(days) = self.retention_days {
            world.insert(
                "log group /aws/lambda/rmx-life".to_owned(),
                format!("{days} days"),
            );
        }
        let role = match self.own_role {
            true => "rmx-life-eu-central-1",
            false => THEIR_ROLE,
        };
        if self.own_role {
            world.insert(format!("role {role}"), "inline rmx".to_owned());
        }
        let expiry = self.expire_renders_days;
        world.insert(
            format!("bucket {bucket}"),
            format!("renders {expiry:?}, uploads Some(1), private true"),
        );
        for number in 1..=self.replicas {
            let name = match number {
                1 => "rmx-life".to_owned(),
                _ => format!("rmx-life_{number}"),
            };
            let Self {
                memory_mb,
                timeout_s,
                level,
                code,
                ..
            } = self;
            let settings = format!(
                "{memory_mb} MB, {timeout_s} s, level {:?}, code {code}, role {role}",
                level.map(|level| level.to_string())
            );
            world.insert(format!("function {name}"), settings.clone());
            world.insert(format!("live {name}"), settings);
        }
        for (site, version) in &self.sites {
            world.insert(
                format!("object {bucket}/rmx/sites/{site}.json"),
                "manifest".to_owned(),
            );
            for (path, content) in files(*version) {
                world.insert(
                    format!("object {bucket}/sites/{site}/{path}"),
                    content.to_owned(),
                );
            }
        }
        world
    }
}
