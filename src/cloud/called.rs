//! What there is whose name begins in a certain way: for whoever looks for what other tools deployed.

use std::collections::BTreeMap;

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::{BucketName, FunctionName};

/// Pages that are read at most, of fifty functions each.
const PAGES_MAX: usize = 200;

impl Cloud {
    /// The functions of this region whose names begin with `prefix`.
    ///
    /// # Errors
    /// There are more than ten thousand functions, besides what the service refuses.
    pub async fn functions_called(&self, prefix: &str) -> Result<Vec<FunctionName>, CloudError> {
        let operation = "list the functions";
        let mut found = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .clients
                .lambda
                .list_functions()
                .set_marker(marker)
                .send()
                .await
                .map_err(|error| cloud_error(operation, prefix, &error))?;
            let names = page.functions.unwrap_or_default().into_iter();
            let names = names.filter_map(|function| function.function_name);
            let names = names.filter(|name| name.starts_with(prefix));
            found.extend(names.filter_map(|name| name.parse().ok()));
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(found);
            }
        }
        Err(CloudError::own(
            operation,
            prefix,
            CloudErrorKind::Other,
            "there are more of them than are read".to_owned(),
        ))
    }

    /// The buckets in this region whose names begin with `prefix`.
    pub async fn buckets_called(&self, prefix: &str) -> Result<Vec<BucketName>, CloudError> {
        let listed = self
            .clients
            .s3
            .list_buckets()
            .prefix(prefix)
            .bucket_region(self.region().as_str())
            .send()
            .await
            .map_err(|error| cloud_error("list the buckets", prefix, &error))?;
        let names = listed.buckets.unwrap_or_default().into_iter();
        let names = names.filter_map(|bucket| bucket.name);
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// The entity tag of each object whose key begins with `prefix`, by what follows it in the key.
    ///
    /// # Errors
    /// As of [`Cloud::list_objects`].
    pub async fn list_etags(
        &self,
        bucket: &BucketName,
        prefix: &str,
    ) -> Result<BTreeMap<String, String>, CloudError> {
        let objects = self.list_objects(bucket, prefix).await?.into_iter();
        let etags = objects.filter_map(|object| {
            let path = object.key.strip_prefix(prefix)?.to_owned();
            Some((path, object.etag))
        });
        Ok(etags.collect())
    }
}
