//! Where an output goes and how it is found: clients work the key out of the progress document by the same rules.

use super::request::{DownloadBehavior, OutName};
use crate::media::Codec;
use crate::names::{BucketName, RenderId};

/// An output's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: String,
}

/// The output cannot go there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not a key that Remotion takes.
    #[error(
        "outName: `{0}` holds characters that are not taken; possible are letters, digits and -!_.*'()/:&$@=;+,?"
    )]
    Key(String),
    /// Not a bucket.
    #[error("outName: {0}")]
    Bucket(#[from] crate::names::NameError),
    /// Storage of somebody else.
    #[error(
        "outName: s3OutputProvider is not supported by rmx yet: render into the farm's bucket and copy the file from there"
    )]
    Provider,
}

impl Place {
    /// Where the output of a render in `bucket` goes; `extension` is that of a file nobody has named.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn of(
        bucket: &BucketName,
        id: &RenderId,
        name: Option<&OutName>,
        default_name: &str,
    ) -> Result<Self, PlaceError> {
        let (bucket, key) = match name {
            None => (bucket.clone(), format!("renders/{id}/{default_name}")),
            Some(OutName::Name(name)) => {
                (bucket.clone(), format!("renders/{id}/{}", checked(name)?))
            }
            Some(OutName::Place {
                s3_output_provider: Some(_),
                ..
            }) => return Err(PlaceError::Provider),
            Some(OutName::Place {
                bucket_name, key, ..
            }) => (bucket_name.parse()?, checked(key)?.to_owned()),
        };
        Ok(Self { bucket, key })
    }

    /// The address under which it is, public or not.
    pub fn url(&self, region: &str) -> String {
        let Self { bucket, key } = self;
        format!("https://s3.{region}.{}/{bucket}/{key}", dns_suffix(region))
    }
}

/// Remotion's rule for keys.
fn checked(key: &str) -> Result<&str, PlaceError> {
    let taken = |c: char| c.is_ascii_alphanumeric() || "-!_.*'()/:&$@=;+,?".contains(c);
    match !key.is_empty() && key.chars().all(taken) {
        true => Ok(key),
        false => Err(PlaceError::Key(key.to_owned())),
    }
}

/// The last part of AWS's host names in a region.
pub fn dns_suffix(region: &str) -> &'static str {
    match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    }
}

/// The `Content-Disposition` that makes browsers behave so; nothing where they show it anyway.
pub fn disposition(behavior: Option<&DownloadBehavior>) -> Option<String> {
    match behavior {
        None | Some(DownloadBehavior::PlayInBrowser) => None,
        Some(DownloadBehavior::Download { file_name: None }) => Some("attachment".to_owned()),
        Some(DownloadBehavior::Download {
            file_name: Some(name),
        }) => {
            // What encodeURIComponent leaves as it is.
            const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
                .remove(b'-')
                .remove(b'_')
                .remove(b'.')
                .remove(b'!')
                .remove(b'~')
                .remove(b'*')
                .remove(b'\'')
                .remove(b'(')
                .remove(b')');
            let name = percent_encoding::utf8_percent_encode(name, KEPT);
            Some(format!("attachment; filename=\"{name}\""))
        }
    }
}

/// The name of an output that nobody has named.
pub fn default_name(codec: &str, audio_codec: Option<&str>) -> String {
    let codec: Option<Codec> = codec.parse().ok();
    let audio_codec = audio_codec.and_then(|codec| codec.parse().ok());
    let container = codec.unwrap_or(Codec::H264).container_with(audio_codec);
    format!("out.{container}")
}

/// The address of a site that lies in `bucket`, if `serve_url` is the name of one.
pub fn expanded(serve_url: &str, bucket: &BucketName, region: &str) -> String {
    if serve_url.starts_with("http://") || serve_url.starts_with("https://") {
        return serve_url.to_owned();
    }
    let suffix = dns_suffix(region);
    format!("https://{bucket}.s3.{region}.{suffix}/sites/{serve_url}/index.html")
}

/// The name of the site in `bucket` that an address of S3 means, by host or by path.
pub fn own_site<'a>(serve_url: &'a str, bucket: &BucketName, region: &str) -> Option<&'a str> {
    let suffix = dns_suffix(region);
    let rest = serve_url.strip_prefix("https://")?;
    let by_host = format!("{bucket}.s3.{region}.{suffix}/sites/");
    let by_path = format!("s3.{region}.{suffix}/{bucket}/sites/");
    let rest = rest
        .strip_prefix(&by_host)
        .or_else(|| rest.strip_prefix(&by_path))?;
    let name = rest.split(['?', '#']).next()?;
    let name = name.strip_suffix("index.html").unwrap_or(name);
    Some(name.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_go_where_clients_look_for_them() {
        let bucket: BucketName = "farm-bucket".parse().unwrap();
        let id: RenderId = "abc".parse().unwrap();
        let place = |name: Option<OutName>| Place::of(&bucket, &id, name.as_ref(), "out.mp4");
        let named = |name: &str| Some(OutName::Name(name.to_owned()));
        assert_eq!(place(None).unwrap().key, "renders/abc/out.mp4");
        assert_eq!(place(named("a.mkv")).unwrap().key, "renders/abc/a.mkv");
        assert!(matches!(place(named("a b")), Err(PlaceError::Key(_))));
        let elsewhere = |provider| OutName::Place {
            bucket_name: "other".to_owned(),
            key: "x/y.mp4".to_owned(),
            s3_output_provider: provider,
        };
        let other = place(Some(elsewhere(None))).unwrap();
        assert_eq!(
            (other.bucket.as_str(), &other.key[..]),
            ("other", "x/y.mp4")
        );
        assert_eq!(
            other.url("us-east-1"),
            "https://s3.us-east-1.amazonaws.com/other/x/y.mp4"
        );
        assert_eq!(
            place(Some(elsewhere(Some(serde_json::json!({}))))),
            Err(PlaceError::Provider)
        );
    }

    #[test]
    fn names_of_downloads_are_encoded_as_javascript_does() {
        let named = |name: Option<&str>| {
            disposition(Some(&DownloadBehavior::Download {
                file_name: name.map(str::to_owned),
            }))
        };
        assert_eq!(disposition(None), None);
        assert_eq!(named(None).as_deref(), Some("attachment"));
        assert_eq!(
            named(Some("é (1)'.mp4")).as_deref(),
            Some("attachment; filename=\"%C3%A9%20(1)'.mp4\"")
        );
    }

    #[test]
    fn a_site_of_the_farm_is_known_by_name_and_address() {
        let bucket: BucketName = "farm-bucket".parse().unwrap();
        let url = expanded("hello", &bucket, "eu-central-1");
        assert_eq!(
            url,
            "https://farm-bucket.s3.eu-central-1.amazonaws.com/sites/hello/index.html"
        );
        let own = |url: &'static str| own_site(url, &bucket, "eu-central-1");
        assert_eq!(own_site(&url, &bucket, "eu-central-1"), Some("hello"));
        assert_eq!(
            own("https://s3.eu-central-1.amazonaws.com/farm-bucket/sites/a/"),
            Some("a")
        );
        assert_eq!(own("https://example.com/sites/hello/index.html"), None);
        assert_eq!(
            expanded("http://x/y", &bucket, "eu-central-1"),
            "http://x/y"
        );
    }
}
