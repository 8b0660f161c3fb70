//! Listing objects: prefix, delimiter, paging, both versions of the call.

use std::collections::BTreeSet;

use s3s::S3Result;
use s3s::dto::*;
use s3s::s3_error;

use super::S3Data;
use super::data::BucketData;

const PAGE_KEYS_MAX: i32 = 1000;

/// One page of a listing.
struct Page {
    objects: Vec<Object>,
    prefixes: BTreeSet<String>,
    /// The last key or prefix of the page, when there is more.
    next: Option<String>,
}

/// What is asked for, the same in both versions of the call.
struct Query<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: &'a str,
    max_keys: usize,
}

fn page(bucket: &BucketData, query: &Query<'_>) -> S3Result<Page> {
    let mut page = Page {
        objects: Vec::new(),
        prefixes: BTreeSet::new(),
        next: None,
    };
    let mut last = None;
    for key in bucket.keys(query.prefix)? {
        let common = query
            .delimiter
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| {
                let rest = &key[query.prefix.len()..];
                rest.find(delimiter)
                    .map(|at| key[..query.prefix.len() + at + delimiter.len()].to_owned())
            });
        let position = common.as_deref().unwrap_or(&key);
        // A group whose prefix was the last thing on the page before is not begun again.
        if key.as_str() <= query.after || common.as_deref() == Some(query.after) {
            continue;
        }
        if common
            .as_ref()
            .is_some_and(|common| page.prefixes.contains(common))
        {
            continue;
        }
        let Some(object) = bucket.object(&key)? else {
            continue;
        };
        if page.objects.len() + page.prefixes.len() == query.max_keys {
            page.next = last;
            break;
        }
        last = Some(position.to_owned());
        match common {
            Some(common) => {
                page.prefixes.insert(common);
            }
            None => page.objects.push(Object {
                e_tag: Some(object.etag()),
                last_modified: Some(object.modified()),
                size: Some(object.size()),
                key: Some(key),
                storage_class: Some(ObjectStorageClass::from_static(
                    ObjectStorageClass::STANDARD,
                )),
                ..Default::default()
            }),
        }
    }
    Ok(page)
}

fn limit(max_keys: Option<i32>) -> S3Result<(i32, usize)> {
    let max_keys = max_keys.unwrap_or(PAGE_KEYS_MAX).min(PAGE_KEYS_MAX);
    let count = usize::try_from(max_keys).map_err(|_| {
        s3_error!(
            InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647"
        )
    })?;
    Ok((max_keys, count))
}

/// Keys as the client wants them spelt in XML.
fn encode(text: &str, encoding: Option<&EncodingType>) -> String {
    if encoding.is_some() {
        // S3 leaves `/` and the unreserved characters.
        const SET: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
            .remove(b'/')
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'*');
        percent_encoding::utf8_percent_encode(text, SET).to_string()
    } else {
        text.to_owned()
    }
}

fn common_prefixes(
    prefixes: BTreeSet<String>,
    encoding: Option<&EncodingType>,
) -> Vec<CommonPrefix> {
    prefixes
        .into_iter()
        .map(|prefix| CommonPrefix {
            prefix: Some(encode(&prefix, encoding)),
        })
        .collect()
}

fn encode_keys(objects: Vec<Object>, encoding: Option<&EncodingType>) -> Vec<Object> {
    objects
        .into_iter()
        .map(|object| Object {
            key: object.key.map(|key| encode(&key, encoding)),
            ..object
        })
        .collect()
}

/// Continuation tokens are opaque to clients: the position, hexadecimal.
fn token(position: &str) -> String {
    super::data::hex(position.as_bytes())
}

fn position(token: &str) -> S3Result<String> {
    let wrong = || {
        s3_error!(
            InvalidArgument,
            "The continuation token provided is incorrect"
        )
    };
    if !token.is_ascii() || !token.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let bytes = (0..token.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&token[at..at + 2], 16))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| wrong())?;
    String::from_utf8(bytes).map_err(|_| wrong())
}

impl S3Data {
    pub(super) fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let (max_keys, count) = limit(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => position(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let prefix = input.prefix.unwrap_or_default();
        let query = Query {
            prefix: &prefix,
            delimiter: input.delimiter.as_deref(),
            after: &after,
            max_keys: count,
        };
        let page = page(&bucket, &query)?;
        let encoding = input.encoding_type.as_ref();
        let key_count = i32::try_from(page.objects.len() + page.prefixes.len()).unwrap_or(i32::MAX);
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix, encoding)),
            delimiter: input
                .delimiter
                .map(|delimiter| encode(&delimiter, encoding)),
            start_after: input.start_after.map(|after| encode(&after, encoding)),
            max_keys: Some(max_keys),
            key_count: Some(key_count),
            is_truncated: Some(page.next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.as_deref().map(token),
            contents: Some(encode_keys(page.objects, encoding)),
            common_prefixes: Some(common_prefixes(page.prefixes, encoding)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    pub(super) fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let (max_keys, count) = limit(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let query = Query {
            prefix: &prefix,
            delimiter: input.delimiter.as_deref(),
            after: input.marker.as_deref().unwrap_or_default(),
            max_keys: count,
        };
        let page = page(&bucket, &query)?;
        let encoding = input.encoding_type.as_ref();
        let contents = encode_keys(page.objects, encoding)
            .into_iter()
            .map(|object| Object {
                owner: Some(self.owner()),
                ..object
            })
            .collect();
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix, encoding)),
            marker: Some(encode(
                input.marker.as_deref().unwrap_or_default(),
                encoding,
            )),
            is_truncated: Some(page.next.is_some()),
            // S3 names the next marker only where a delimiter was given.
            next_marker: page
                .next
                .filter(|_| input.delimiter.is_some())
                .map(|next| encode(&next, encoding)),
            delimiter: input
                .delimiter
                .map(|delimiter| encode(&delimiter, encoding)),
            max_keys: Some(max_keys),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes(page.prefixes, encoding)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }
}
