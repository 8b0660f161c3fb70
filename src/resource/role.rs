//! What a worker's role may do: exactly what the worker does, on its own resources.

use serde_json::{Value, json};

use super::site;
use crate::names::{AccountId, BucketName, FunctionName, LogGroupName, Region, RoleName};

/// The list of AWSLambdaVPCAccessExecutionRole; these actions know no narrower resource.
const NETWORK_ACTIONS: [&str; 6] = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
];

/// What a worker's permissions depend on.
#[derive(Debug, Clone)]
pub struct WorkerAccess<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The region.
    pub region: &'a Region,
    /// The bucket of sites and renders.
    pub bucket: &'a BucketName,
    /// The functions of the farm: a worker may invoke its own kind.
    pub functions: &'a [FunctionName],
    /// Where they log.
    pub log_group: &'a LogGroupName,
    /// Whether rmx makes the log group. If not, Lambda does, with this role.
    pub log_group_managed: bool,
    /// Whether the functions are attached to a VPC: Lambda makes their network interfaces with this role.
    pub in_vpc: bool,
}

/// The inline policy of a worker's role.
pub fn policy_document(access: &WorkerAccess<'_>) -> Value {
    let WorkerAccess {
        account,
        region,
        bucket,
        functions,
        log_group,
        log_group_managed,
        in_vpc,
    } = access;
    let partition = partition(region);
    let bucket_arn = bucket_arn(region, bucket);
    let log_group_arn = format!("arn:{partition}:logs:{region}:{account}:log-group:{log_group}");
    // A worker names the version, be it $LATEST, and Lambda compares what is named.
    let function_arns: Vec<String> = functions
        .iter()
        .map(|name| format!("arn:{partition}:lambda:{region}:{account}:function:{name}:*"))
        .collect();
    let mut log_actions = vec!["logs:CreateLogStream", "logs:PutLogEvents"];
    if !log_group_managed {
        log_actions.insert(0, "logs:CreateLogGroup");
    }
    let mut statements = vec![
        allow(
            "Read",
            &["s3:GetObject"],
            &[
                format!("{bucket_arn}/renders/*"),
                format!("{bucket_arn}/sites/*"),
                // The manifest, with which a worker compares what it fetches.
                format!("{bucket_arn}/{}sites/*", site::OWN_PREFIX),
            ],
        ),
        allow(
            "Write",
            &["s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"],
            &[format!("{bucket_arn}/renders/*")],
        ),
        // Props that are too large for an event; Remotion's clients leave them there.
        allow(
            "Props",
            &["s3:GetObject", "s3:DeleteObject"],
            &[format!("{bucket_arn}/input-props/*")],
        ),
        // Without it S3 answers 403 instead of 404 where there is no object.
        allow("List", &["s3:ListBucket"], &[bucket_arn]),
        allow("Invoke", &["lambda:InvokeFunction"], &function_arns),
        allow(
            "Log",
            &log_actions,
            &[log_group_arn.clone(), format!("{log_group_arn}:*")],
        ),
    ];
    if *in_vpc {
        statements.push(allow("Network", &NETWORK_ACTIONS, &["*".to_owned()]));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What a worker does, and on what: actions and the ARNs they are done to. Written down apart from
/// [`policy_document`], so that the one can be held against the other, against a permissions boundary, and against
/// a role that is not rmx's own.
pub fn worker_needs(access: &WorkerAccess<'_>) -> Vec<(&'static str, String)> {
    let WorkerAccess {
        account,
        region,
        bucket,
        functions,
        log_group,
        log_group_managed,
        in_vpc,
    } = access;
    let partition = partition(region);
    let bucket = bucket_arn(region, bucket);
    let stream = |stream: &str| {
        format!("arn:{partition}:logs:{region}:{account}:log-group:{log_group}:log-stream:{stream}")
    };
    let mut needs = vec![
        ("s3:GetObject", format!("{bucket}/sites/*")),
        (
            "s3:GetObject",
            format!("{bucket}/{}sites/*", site::OWN_PREFIX),
        ),
        ("s3:GetObject", format!("{bucket}/renders/*")),
        ("s3:PutObject", format!("{bucket}/renders/*")),
        ("s3:AbortMultipartUpload", format!("{bucket}/renders/*")),
        ("s3:DeleteObject", format!("{bucket}/renders/*")),
        ("s3:GetObject", format!("{bucket}/input-props/*")),
        ("s3:DeleteObject", format!("{bucket}/input-props/*")),
        ("s3:ListBucket", bucket),
        ("logs:CreateLogStream", stream("*")),
        ("logs:PutLogEvents", stream("*")),
    ];
    if !log_group_managed {
        needs.push(("logs:CreateLogGroup", stream("")));
    }
    for name in *functions {
        let function = format!("arn:{partition}:lambda:{region}:{account}:function:{name}");
        needs.push(("lambda:InvokeFunction", format!("{function}:live")));
    }
    if *in_vpc {
        needs.extend(NETWORK_ACTIONS.map(|action| (action, "*".to_owned())));
    }
    needs
}

/// Lets Lambda, and nobody else, use the role.
pub fn trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "lambda.amazonaws.com" },
            "Action": "sts:AssumeRole",
        }],
    })
}

/// The ARN that a role of this name and path has or will have.
pub fn role_arn(region: &Region, account: &AccountId, path: &str, name: &RoleName) -> String {
    format!("arn:{}:iam::{account}:role{path}{name}", partition(region))
}

/// The ARN of a bucket.
pub fn bucket_arn(region: &Region, bucket: &BucketName) -> String {
    format!("arn:{}:s3:::{bucket}", partition(region))
}

/// The partition a region belongs to: the second word of every ARN.
pub fn partition(region: &Region) -> &'static str {
    match region.as_str().split('-').next() {
        Some("cn") => "aws-cn",
        _ if region.as_str().starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// A statement that allows.
pub(super) fn allow(sid: &str, actions: &[&str], resources: &[String]) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(log_group_managed: bool, in_vpc: bool) -> Vec<String> {
        let functions = ["rmx-demo".parse().unwrap(), "rmx-demo-2".parse().unwrap()];
        let document = policy_document(&WorkerAccess {
            account: &"123456789012".parse().unwrap(),
            region: &"eu-central-1".parse().unwrap(),
            bucket: &"rmx-demo-bucket".parse().unwrap(),
            functions: &functions,
            log_group: &"/aws/lambda/rmx-demo".parse().unwrap(),
            log_group_managed,
            in_vpc,
        });
        let statements = document["Statement"].as_array().unwrap();
        for statement in statements {
            let everything = statement["Resource"][0] == "*";
            assert_eq!(everything, statement["Sid"] == "Network", "{statement}");
        }
        statements
            .iter()
            .flat_map(|statement| statement["Action"].as_array().unwrap())
            .map(|action| action.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn grants_no_more_than_the_farm_needs() {
        let plain = actions(true, false);
        assert!(plain.iter().all(|action| !action.contains('*')));
        assert!(!plain.contains(&"logs:CreateLogGroup".to_owned()));
        assert!(!plain.iter().any(|action| action.starts_with("ec2:")));
        assert!(actions(false, false).contains(&"logs:CreateLogGroup".to_owned()));
        assert!(actions(true, true).contains(&"ec2:CreateNetworkInterface".to_owned()));
    }

    #[test]
    fn partitions_follow_the_region() {
        for (region, expected) in [
            ("eu-central-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
        ] {
            assert_eq!(partition(&region.parse().unwrap()), expected);
        }
    }
}
