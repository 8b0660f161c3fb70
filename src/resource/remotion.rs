//! What Remotion's own function needs around it, as its own tool deploys it (`@remotion/lambda` 4.0.527).

use serde_json::{Value, json};

use super::role::{WorkerAccess, allow, bucket_arn, partition};
use crate::names::Region;

/// The account that publishes the layers with Chromium and fonts.
const LAYER_ACCOUNT: &str = "678892195805";

/// The version of the runtime, by its hash.
const RUNTIME_VERSION: &str = "58a37e8413ed69058c4ac3b1df642118591f17d40def93d6101f867c72cd03c2";

/// Versions of its layers by region: fonts, Chromium, emoji and East Asian fonts.
const LAYER_VERSIONS: &[(&[&str], [u32; 4])] = &[
    (&["us-east-1"], [31, 39, 14, 14]),
    (
        &[
            "us-east-2",
            "us-west-2",
            "eu-west-2",
            "ap-northeast-1",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
        ],
        [26, 30, 14, 14],
    ),
    (&["eu-west-1"], [27, 30, 14, 14]),
    (&["eu-central-1"], [64, 64, 26, 26]),
    (
        &[
            "us-west-1",
            "af-south-1",
            "ap-east-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "eu-north-1",
            "eu-south-1",
            "eu-west-3",
        ],
        [23, 23, 14, 14],
    ),
    (&["ca-central-1", "sa-east-1"], [22, 22, 13, 13]),
    (&["ap-southeast-4"], [11, 11, 10, 10]),
    (&["ap-southeast-5", "eu-central-2"], [10, 10, 10, 10]),
];

/// The layers that Remotion's tool attaches where nothing else is asked for, in its order; none in a region where it publishes none.
pub fn layers(region: &Region) -> Vec<String> {
    let known = |(regions, _): &&(&[&str], _)| regions.contains(&region.as_str());
    let Some((_, [fonts, chromium, emoji, cjk])) = LAYER_VERSIONS.iter().find(known) else {
        return Vec::new();
    };
    let partition = partition(region);
    let arn = |kind: &str, version: &u32| {
        format!(
            "arn:{partition}:lambda:{region}:{LAYER_ACCOUNT}:layer:remotion-binaries-{kind}-arm64:{version}"
        )
    };
    vec![
        arn("fonts", fonts),
        arn("chromium", chromium),
        arn("emoji-google", emoji),
        arn("cjk", cjk),
    ]
}

/// The version of Node.js that Remotion's tool has its function keep; none in China, where it keeps the one that the function has got.
pub fn runtime_version_arn(region: &Region) -> Option<String> {
    let partition = partition(region);
    let arn = || format!("arn:{partition}:lambda:{region}::runtime:{RUNTIME_VERSION}");
    (partition == "aws").then(arn)
}

/// What `getRolePolicy()` says: the inline policy of its role.
pub fn policy_document(region: &Region) -> Value {
    let partition = partition(region);
    let log_group = |name: &str| format!("arn:{partition}:logs:*:*:log-group:/aws/{name}");
    let statements = [
        allow("0", &["s3:ListAllMyBuckets"], &["*".to_owned()]),
        allow(
            "1",
            &[
                "s3:CreateBucket",
                "s3:ListBucket",
                "s3:PutBucketAcl",
                "s3:GetObject",
                "s3:DeleteObject",
                "s3:PutObjectAcl",
                "s3:PutObject",
                "s3:GetBucketLocation",
            ],
            &[format!("arn:{partition}:s3:::remotionlambda-*")],
        ),
        allow(
            "2",
            &["lambda:InvokeFunction"],
            &[format!(
                "arn:{partition}:lambda:*:*:function:remotion-render-*"
            )],
        ),
        allow(
            "3",
            &["logs:CreateLogGroup"],
            &[log_group("lambda-insights")],
        ),
        allow(
            "4",
            &["logs:CreateLogStream", "logs:PutLogEvents"],
            &[
                log_group("lambda/remotion-render-*"),
                log_group("lambda-insights:*"),
            ],
        ),
    ];
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What it does with them, and on what: actions and the ARNs they are done to. Held against the policy above, a permissions boundary, and
/// a role that is not rmx's own.
pub fn worker_needs(access: &WorkerAccess<'_>) -> Vec<(&'static str, String)> {
    let WorkerAccess {
        account,
        region,
        bucket,
        functions,
        log_group,
        ..
    } = access;
    let partition = partition(region);
    let bucket = bucket_arn(region, bucket);
    let stream =
        format!("arn:{partition}:logs:{region}:{account}:log-group:{log_group}:log-stream:*");
    let objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:PutObjectAcl",
    ];
    let objects = objects.map(|action| (action, format!("{bucket}/*")));
    let functions = functions.iter().map(|name| {
        (
            "lambda:InvokeFunction",
            format!("arn:{partition}:lambda:{region}:{account}:function:{name}"),
        )
    });
    let rest = [
        ("s3:ListBucket", bucket.clone()),
        ("s3:GetBucketLocation", bucket),
        ("logs:CreateLogStream", stream.clone()),
        ("logs:PutLogEvents", stream),
    ];
    objects.into_iter().chain(functions).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_those_of_the_region() {
        let of = |region: &str| layers(&region.parse().unwrap());
        assert_eq!(
            of("us-east-1")[0],
            "arn:aws:lambda:us-east-1:678892195805:layer:remotion-binaries-fonts-arm64:31"
        );
        assert_eq!(of("eu-central-1").len(), 4);
        assert!(of("cn-north-1").is_empty());
    }
}
