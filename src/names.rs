//! AWS vocabulary as types: a value that exists is a valid one.
//!
//! The rules are AWS's own: bucket names from the S3 user guide ("Bucket naming rules"), function names from
//! the Lambda API reference (`CreateFunction`), role names from the IAM API reference (`CreateRole`), log
//! groups from the CloudWatch Logs API reference (`CreateLogGroup`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that breaks the rules of the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct NameError {
    /// What it should have been, for example `bucket name`.
    pub what: &'static str,
    /// What was given.
    pub text: String,
    /// The rule, in words.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The rule, in words, for error messages and documentation.
            pub const RULE: &'static str = $rule;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { what: $what, text: text.to_owned(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn lower_kebab(text: &str, length_max: usize) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (1..=length_max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
}

fn all(text: &str, lengths: std::ops::RangeInclusive<usize>, allowed: &[u8]) -> bool {
    lengths.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || allowed.contains(&b))
}

name! {
    /// An AWS account: 12 digits.
    AccountId, "account id", "exactly 12 digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
name! {
    /// An AWS region such as `eu-central-1`.
    Region, "region",
    "2 or more lower-case words and a number, joined by `-`, such as `eu-central-1`, at most 20 characters",
    |text| {
        let parts: Vec<_> = text.split('-').collect();
        let (number, words) = parts.split_last().unwrap_or((&"", &[]));
        text.len() <= 20
            && words.len() >= 2
            && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
            && (1..=2).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
    }
}
name! {
    /// The project's name in `remotion.toml`.
    ProjectName, "project name",
    "1 to 32 lower-case letters, digits and `-`, beginning and ending with a letter or digit, without `--`",
    |text| lower_kebab(text, 32) && !text.contains("--")
}
name! {
    /// A stage: the `NAME` of `[stage.NAME]`.
    StageName, "stage name",
    "1 to 16 lower-case letters, digits and `-`, beginning and ending with a letter or digit, without `--`",
    |text| lower_kebab(text, 16) && !text.contains("--")
}
name! {
    /// The name of a site: one folder below `sites/` in the bucket.
    SiteName, "site name", "1 to 64 letters, digits and `-_!.*'()`, but not `.` or `..`",
    |text| all(text, 1..=64, b"-_!.*'()") && text != "." && text != ".."
}
name! {
    /// What a page calls a file that it emits: a path below a folder, which leads nowhere else.
    ArtifactName, "artifact name",
    "a relative path with forward slashes, without `.` and `..`, of 1 to 800 bytes",
    // S3 has keys of 1024 bytes, and ours have a prefix.
    |text| (1..=800).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || c == '\\')
        && text.split('/').all(|part| !["", ".", ".."].contains(&part))
}
name! {
    /// An S3 bucket's name.
    BucketName, "bucket name",
    "3 to 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit, \
     not shaped like an IP address, without `..`, and without the beginnings and endings that S3 reserves \
     (`xn--`, `sthree-`, `amzn-s3-demo-`, `-s3alias`, `--ol-s3`, `.mrap`, `--x-s3`, `--table-s3`)",
    |text| {
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (3..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
            && edge(text.bytes().next())
            && edge(text.bytes().last())
            && !text.contains("..")
            && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|start| text.starts_with(start))
            && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|end| text.ends_with(end))
            && text.parse::<std::net::Ipv4Addr>().is_err()
    }
}
name! {
    /// A Lambda function's name.
    FunctionName, "function name", "1 to 64 letters, digits, `-` and `_`",
    |text| all(text, 1..=64, b"-_")
}
name! {
    /// An IAM role's name.
    RoleName, "role name", "1 to 64 letters, digits and `+=,.@-_`",
    |text| all(text, 1..=64, b"+=,.@-_")
}
name! {
    /// A CloudWatch log group's name.
    LogGroupName, "log group name", "1 to 512 letters, digits and `_-/.#`",
    |text| all(text, 1..=512, b"_-/.#")
}
name! {
    /// A render's id: ten lower-case letters and digits, optionally behind Remotion's `1-day-` prefixes.
    RenderId, "render id", "1 to 64 lower-case letters, digits and `-`",
    |text| lower_kebab(text, 64)
}
name! {
    /// A state's lineage: the identity of one deployment, carried as the tag `rmx:stack` by all it owns.
    Lineage, "lineage", "a lower-case UUID",
    |text| text.len() == 36 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

impl FunctionName {
    /// What the names of Remotion's functions begin with. It invokes itself by its name, which its role's policy allows for these.
    pub const REMOTION_PREFIX: &str = "remotion-render-";

    /// Whether Remotion's function may have the name.
    pub fn is_of_remotion(&self) -> bool {
        self.as_str().starts_with(Self::REMOTION_PREFIX)
    }
}

impl BucketName {
    /// What the names of Remotion's buckets begin with.
    pub const REMOTION_PREFIX: &str = "remotionlambda-";

    /// Whether Remotion's function may use a bucket of that name.
    pub fn is_of_remotion(&self) -> bool {
        self.as_str().starts_with(Self::REMOTION_PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_awss_rules() {
        for good in ["abc", "my-bucket.1", &"a".repeat(63)] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in [
            "ab",
            "Abc",
            "a..b",
            "1.2.3.4",
            "xn--abc",
            "-abc",
            "abc-",
            "abc--x-s3",
            "sthree-abc",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
        assert!("eu-central-1".parse::<Region>().is_ok());
        assert!("eu-central".parse::<Region>().is_err());
        assert!("12345678901".parse::<AccountId>().is_err());
        assert!("..".parse::<SiteName>().is_err());
    }

    #[test]
    fn names_of_artifacts_lead_nowhere_else() {
        for good in ["a", "a/b.txt", "..a", "überschrift.srt"] {
            assert!(good.parse::<ArtifactName>().is_ok(), "{good}");
        }
        let long = "a".repeat(801);
        for bad in [
            "", ".", "../a", "/a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\nb", &long,
        ] {
            assert!(bad.parse::<ArtifactName>().is_err(), "{bad}");
        }
    }
}
