//! What S3 requests need to be allowed ("Actions, resources, and condition keys for Amazon S3").

use http::Method;
use percent_encoding::percent_decode_str;

use crate::local::permission::Permission;

/// Buckets' own settings: the query parameter that names one, the actions that read, write and delete it.
const SETTINGS: [(&str, &str, &str, &str); 9] = [
    ("acl", "GetBucketAcl", "PutBucketAcl", "PutBucketAcl"),
    ("cors", "GetBucketCORS", "PutBucketCORS", "PutBucketCORS"),
    (
        "lifecycle",
        "GetLifecycleConfiguration",
        "PutLifecycleConfiguration",
        "PutLifecycleConfiguration",
    ),
    (
        "ownershipControls",
        "GetBucketOwnershipControls",
        "PutBucketOwnershipControls",
        "PutBucketOwnershipControls",
    ),
    (
        "policy",
        "GetBucketPolicy",
        "PutBucketPolicy",
        "DeleteBucketPolicy",
    ),
    (
        "publicAccessBlock",
        "GetBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
    ),
    (
        "tagging",
        "GetBucketTagging",
        "PutBucketTagging",
        "PutBucketTagging",
    ),
    (
        "versioning",
        "GetBucketVersioning",
        "PutBucketVersioning",
        "PutBucketVersioning",
    ),
    (
        "location",
        "GetBucketLocation",
        "GetBucketLocation",
        "GetBucketLocation",
    ),
];

/// Whether the keys in the request's body have to be known: `DeleteObjects` names its objects there.
pub(crate) fn names_keys_in_body(method: &Method, query: &str) -> bool {
    method == Method::POST && has(query, "delete")
}

/// What a request needs. `body` is that of a `DeleteObjects`, and not looked at otherwise.
pub(crate) fn permissions(
    method: &Method,
    path: &str,
    query: &str,
    copy_source: Option<&str>,
    body: &[u8],
) -> Vec<Permission> {
    let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    if bucket.is_empty() {
        return vec![Permission::new("s3:ListAllMyBuckets", "*")];
    }
    let bucket_arn = format!("arn:aws:s3:::{bucket}");
    if key.is_empty() {
        if names_keys_in_body(method, query) {
            let keys = keys(&String::from_utf8_lossy(body));
            return keys
                .into_iter()
                .map(|key| Permission::new("s3:DeleteObject", format!("{bucket_arn}/{key}")))
                .collect();
        }
        return vec![Permission::new(
            format!("s3:{}", bucket_action(method, query)),
            bucket_arn,
        )];
    }
    let action = match *method {
        Method::GET if has(query, "uploadId") => "ListMultipartUploadParts",
        Method::GET | Method::HEAD => "GetObject",
        Method::DELETE if has(query, "uploadId") => "AbortMultipartUpload",
        Method::DELETE => "DeleteObject",
        // A multipart upload is a write from its beginning to its end.
        _ => "PutObject",
    };
    let mut needed = vec![Permission::new(
        format!("s3:{action}"),
        format!("{bucket_arn}/{key}"),
    )];
    if let Some(source) = copy_source {
        let source = percent_decode_str(source.trim_start_matches('/')).decode_utf8_lossy();
        needed.push(Permission::new(
            "s3:GetObject",
            format!("arn:aws:s3:::{source}"),
        ));
    }
    needed
}

fn bucket_action(method: &Method, query: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| has(query, setting.0));
    match (method, setting) {
        (&Method::GET | &Method::HEAD, Some((_, read, _, _))) => read,
        (&Method::DELETE, Some((_, _, _, delete))) => delete,
        (_, Some((_, _, write, _))) => write,
        (&Method::PUT, None) => "CreateBucket",
        (&Method::DELETE, None) => "DeleteBucket",
        (_, None) if has(query, "uploads") => "ListBucketMultipartUploads",
        (_, None) => "ListBucket",
    }
}

fn has(query: &str, name: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(found, _)| found == name)
}

/// The keys that a `DeleteObjects` document names. What is no document of that kind is refused by the service itself.
fn keys(document: &str) -> Vec<String> {
    let texts = document.split("<Key>").skip(1);
    texts
        .filter_map(|text| text.split_once("</Key>"))
        .map(|(key, _)| {
            let unescaped = key
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'");
            unescaped.replace("&amp;", "&")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_need_what_the_authorization_reference_says() {
        for (method, target, needed) in [
            (Method::GET, "/", "s3:ListAllMyBuckets *"),
            (Method::PUT, "/b", "s3:CreateBucket arn:aws:s3:::b"),
            (Method::HEAD, "/b", "s3:ListBucket arn:aws:s3:::b"),
            (
                Method::GET,
                "/b?list-type=2&prefix=x",
                "s3:ListBucket arn:aws:s3:::b",
            ),
            (
                Method::PUT,
                "/b?lifecycle",
                "s3:PutLifecycleConfiguration arn:aws:s3:::b",
            ),
            (
                Method::DELETE,
                "/b?policy",
                "s3:DeleteBucketPolicy arn:aws:s3:::b",
            ),
            (
                Method::HEAD,
                "/b/a%20c/d",
                "s3:GetObject arn:aws:s3:::b/a c/d",
            ),
            (
                Method::POST,
                "/b/k?uploads",
                "s3:PutObject arn:aws:s3:::b/k",
            ),
            (
                Method::DELETE,
                "/b/k?uploadId=1",
                "s3:AbortMultipartUpload arn:aws:s3:::b/k",
            ),
            (
                Method::POST,
                "/b?delete",
                "s3:DeleteObject arn:aws:s3:::b/x&y",
            ),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let body = b"<Delete><Object><Key>x&amp;y</Key></Object></Delete>";
            let found = permissions(&method, path, query, None, body);
            let found: Vec<_> = found
                .iter()
                .map(|one| format!("{} {}", one.action, one.resource))
                .collect();
            assert_eq!(found, [needed], "{method} {target}");
        }
    }
}
