//! The AWS names of what a config declares: readable, within AWS's rules, and never the same for two deployments.
//!
//! Neither project, stage nor region can hold `--` or `_`, so the joints below cannot be mistaken for their
//! content: `--` stands before the stage, `_` before a replica's number, `---` before a hash.

use crate::digest::Digest;
use crate::names::{AccountId, BucketName, FunctionName, LogGroupName, Region, RoleName};

use super::{Config, FunctionConfig, ResourceNames, RoleConfig, WorkerKind};

/// The longest configured name of a function: a replica's has `_` and two digits behind it.
pub(super) const FUNCTION_LENGTH_MAX: usize = 61;

/// Whose role Remotion's own function has, as its documentation has users call it.
const REMOTIONS_ROLE: &str = "remotion-lambda-role";
/// So much of a version is in the name of its function.
const REMOTIONS_VERSION_LENGTH: usize = 10;

/// Longest name of a role, IAM API reference, `CreateRole`.
const ROLE_LENGTH_MAX: usize = 64;
/// Longest name of a bucket, S3 user guide, "Bucket naming rules".
const BUCKET_LENGTH_MAX: usize = 63;

impl ResourceNames {
    /// The names `config` has in `region` of `account`.
    pub fn derive(config: &Config, account: &AccountId, region: &Region) -> Self {
        let base = match &config.stage {
            Some(stage) => format!("rmx-{}--{stage}", config.project),
            None => format!("rmx-{}", config.project),
        };
        let remotions = config.function.worker == WorkerKind::Remotion;
        let named = config.function.name.as_ref().map(FunctionName::to_string);
        let function = named.unwrap_or_else(|| match remotions {
            true => remotions_function(&config.function),
            false => base.clone(),
        });
        let functions: Vec<FunctionName> = (1..=config.function.replicas.max(1))
            .map(|number| match number {
                1 => function.clone(),
                _ => format!("{function}_{number}"),
            })
            .map(|name| {
                name.parse()
                    .expect("at most 61 + 3 letters, digits, `-` and `_`")
            })
            .collect();
        let named = match &config.role {
            RoleConfig::Managed { name, .. } => name.clone(),
            RoleConfig::Existing { .. } => None,
        };
        let role = named.unwrap_or_else(|| {
            match remotions {
                true => REMOTIONS_ROLE.to_owned(),
                false => shortened(&base, &format!("-{region}"), ROLE_LENGTH_MAX),
            }
            .parse::<RoleName>()
            .expect("shortened to its length, of letters, digits and `-`")
        });
        let bucket = config.bucket.name.clone().unwrap_or_else(|| {
            let whole = format!("{base}-{account}-{region}");
            match remotions {
                true => remotions_bucket(&whole, region),
                false => shortened(&base, &format!("-{account}-{region}"), BUCKET_LENGTH_MAX),
            }
            .parse::<BucketName>()
            .expect("shortened to its length, of lower-case letters, digits and `-`")
        });
        let log_group: LogGroupName = format!("/aws/lambda/{}", functions[0])
            .parse()
            .expect("a function's name is a valid part of a log group's");
        Self {
            functions,
            role,
            bucket,
            log_group,
        }
    }
}

/// As `npx remotion lambda functions deploy` calls it: its own clients read version, memory, disk and timeout out of the name.
fn remotions_function(function: &FunctionConfig) -> String {
    let version = function.remotion_version.replace('.', "-");
    let version: String = version.chars().take(REMOTIONS_VERSION_LENGTH).collect();
    let FunctionConfig {
        memory_mb,
        disk_mb,
        timeout_s,
        ..
    } = function;
    format!(
        "{}{version}-mem{memory_mb}mb-disk{disk_mb}mb-{timeout_s}sec",
        FunctionName::REMOTION_PREFIX
    )
}

/// As Remotion calls its buckets, with letters and digits that belong to this deployment where it takes random ones.
fn remotions_bucket(whole: &str, region: &Region) -> String {
    let region: String = region.as_str().chars().filter(|c| *c != '-').collect();
    let hash = &Digest::of(whole).to_string()[..10];
    format!("{}{region}-{hash}", BucketName::REMOTION_PREFIX)
}

/// `base` and `tail`; where that is too long, the beginning of `base`, a hash of all of it, and `tail`.
fn shortened(base: &str, tail: &str, length_max: usize) -> String {
    let whole = format!("{base}{tail}");
    if whole.len() <= length_max {
        return whole;
    }
    let hash = &Digest::of(&whole).to_string()[..10];
    let room = length_max - "---".len() - hash.len() - tail.len();
    let start = base[..room].trim_end_matches('-');
    format!("{start}---{hash}{tail}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::config::parse_for_tests;

    fn names(project: &str, stage: Option<&str>, account: &str, region: &str) -> ResourceNames {
        let stage_table = stage.map_or(String::new(), |stage| format!("[stage.{stage}]\n"));
        let text = format!("project = \"{project}\"\n[function]\nreplicas = 3\n{stage_table}");
        let config = parse_for_tests(&text, stage);
        ResourceNames::derive(&config, &account.parse().unwrap(), &region.parse().unwrap())
    }

    #[test]
    fn names_are_readable() {
        let names = names("hello", Some("prod"), "123456789012", "eu-central-1");
        assert_eq!(names.functions[0].as_str(), "rmx-hello--prod");
        assert_eq!(names.functions[2].as_str(), "rmx-hello--prod_3");
        assert_eq!(names.role.as_str(), "rmx-hello--prod-eu-central-1");
        assert_eq!(
            names.bucket.as_str(),
            "rmx-hello--prod-123456789012-eu-central-1"
        );
        assert_eq!(names.log_group.as_str(), "/aws/lambda/rmx-hello--prod");
    }

    #[test]
    fn a_function_may_have_a_name_of_its_own() {
        let name = "remotion-render-4-0-527-mem2048mb-disk2048mb-240sec";
        let text = format!("project = \"hello\"\n[function]\nreplicas = 2\nname = \"{name}\"\n");
        let config = parse_for_tests(&text, None);
        let (account, region) = (
            "123456789012".parse().unwrap(),
            "us-east-1".parse().unwrap(),
        );
        let names = ResourceNames::derive(&config, &account, &region);
        assert_eq!(names.functions[0].as_str(), name);
        assert_eq!(names.functions[1].as_str(), format!("{name}_2"));
        assert_eq!(names.log_group.as_str(), format!("/aws/lambda/{name}"));
        assert_eq!(names.role.as_str(), "rmx-hello-us-east-1");
    }

    #[test]
    fn remotions_function_is_called_as_its_own_tools_call_it() {
        let text = "project = \"hello\"\n[function]\nworker = \"remotion\"\nmemory_mb = 3008\n";
        let config = parse_for_tests(text, None);
        let names = |account: &str| {
            let region = "eu-central-1".parse().unwrap();
            ResourceNames::derive(&config, &account.parse().unwrap(), &region)
        };
        let one = names("123456789012");
        let name = "remotion-render-4-0-527-mem3008mb-disk2048mb-240sec";
        assert_eq!(one.functions[0].as_str(), name);
        assert_eq!(one.role.as_str(), "remotion-lambda-role");
        let random = one
            .bucket
            .as_str()
            .strip_prefix("remotionlambda-eucentral1-");
        assert_eq!(random.map(str::len), Some(10));
        assert_ne!(one.bucket, names("999999999999").bucket);
    }

    const REGIONS: [&str; 5] = [
        "us-east-1",
        "eu-central-1",
        "ap-southeast-1",
        "us-gov-west-1",
        "eusc-de-east-1",
    ];

    proptest! {
        /// Two deployments share no name that is unique in AWS: buckets are global, roles are an account's,
        /// functions a region's. Short alphabets make near-collisions likely.
        #[test]
        fn distinct_deployments_have_distinct_names(
            deployments in proptest::collection::btree_set(
                ("[ab]{1,2}(-[a2]){0,15}", proptest::option::of("[ab]{1,2}(-[a2]){0,7}"), 0..3usize, 0..5usize),
                2..20,
            )
        ) {
            let mut owners = BTreeMap::new();
            for deployment in &deployments {
                let (project, stage, account, region) = deployment;
                let account = ["000000000000", "123456789012", "999999999999"][*account];
                let names = names(project, stage.as_deref(), account, REGIONS[*region]);
                let mut keys = vec![
                    ("role", account.to_owned(), names.role.to_string()),
                    ("bucket", String::new(), names.bucket.to_string()),
                ];
                for function in &names.functions {
                    keys.push(("function", format!("{account} {}", REGIONS[*region]), function.to_string()));
                }
                for key in keys {
                    let other = owners.insert(key.clone(), deployment);
                    prop_assert!(other.is_none(), "{key:?}: {other:?} and {deployment:?}");
                }
            }
        }
    }
}
