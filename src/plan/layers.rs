//! Preflight of a function's layers: whether they are there, and what is known of their sizes. Pure.

use std::collections::BTreeMap;

use super::limits::size;
use super::preflight::{Check, Subject, Verdict};

/// What the cloud told of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is there.
    There {
        /// Size of its zip. Lambda tells nobody how large it is unzipped.
        zipped_bytes: u64,
        /// What it is published for; nothing where its publisher did not say.
        architectures: Vec<String>,
    },
    /// It is not.
    Missing,
    /// The cloud did not tell, and why.
    Unknown(String),
}

/// What of a zip's size is certain to be there unzipped too: names and directories of a zip take far less than the rest.
const CERTAIN_PERCENT: u64 = 99;

/// Whether a function for `architecture` can have `layers`, by ARN, beside code of `code_bytes` unzipped, where Lambda takes `bytes_max`
/// of all together; either is `None` where it is not known.
pub fn layers(
    layers: &[(String, Told)],
    architecture: &str,
    code_bytes: Option<u64>,
    bytes_max: Option<u64>,
) -> Check {
    let subject = Subject::Layers;
    let (mut missing, mut others, mut zipped) = (vec![], vec![], 0);
    let mut unknown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (arn, told) in layers {
        match told {
            Told::Missing => missing.push(arn.as_str()),
            Told::Unknown(reason) => unknown.entry(reason).or_default().push(name(arn)),
            Told::There {
                zipped_bytes,
                architectures,
            } => {
                zipped += zipped_bytes;
                let fits = |one: &String| one == architecture;
                if !architectures.is_empty() && !architectures.iter().any(fits) {
                    others.push(format!(
                        "{arn} is published for {}, the function is for {architecture}",
                        architectures.join(" and ")
                    ));
                }
            }
        }
    }
    if !missing.is_empty() {
        let detail = format!("there is no {}", missing.join(", and no "));
        return Check::new(subject, Verdict::Refused, detail);
    }
    let certain = zipped / 100 * CERTAIN_PERCENT;
    if let (Some(code), Some(max)) = (code_bytes, bytes_max)
        && code + certain > max
    {
        let detail = format!(
            "the package has {} unzipped, the zips of its layers {}: more than the {} that Lambda unzips of all together",
            size(code),
            size(zipped),
            size(max)
        );
        return Check::new(subject, Verdict::Refused, detail);
    }
    let there = layers.len() - unknown.values().map(Vec::len).sum::<usize>();
    let told = |(reason, names): (&str, Vec<&str>)| match &names[..] {
        [one] => format!("{one} was not checked: {reason}"),
        all => format!("{} were not checked: {reason}", all.join(", ")),
    };
    let mut parts: Vec<String> = unknown.into_iter().map(told).collect();
    let verdict = match parts.is_empty() {
        true => Verdict::Warning,
        false => Verdict::NotChecked,
    };
    parts.extend(others);
    if there > 0 {
        let left = match (code_bytes, bytes_max) {
            (Some(code), Some(max)) => {
                format!(
                    "beside the package {} are left",
                    size(max.saturating_sub(code))
                )
            }
            _ => "package and layers together may have 250 MiB".to_owned(),
        };
        parts.push(format!(
            "{there} of {} there, {} zipped; how large they are unzipped Lambda does not tell: {left}",
            layers.len(),
            size(zipped)
        ));
    }
    Check::new(subject, verdict, parts.join("; "))
}

/// A layer by its own name and version, without where it is.
fn name(arn: &str) -> &str {
    arn.rsplit_once(":layer:").map_or(arn, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn there(mib: u64, architectures: &[&str]) -> Told {
        Told::There {
            zipped_bytes: mib * MIB,
            architectures: architectures.iter().map(|&one| one.to_owned()).collect(),
        }
    }

    fn check(told: &[Told]) -> (Verdict, String) {
        let named = told.iter().zip(["a", "b"]);
        let named: Vec<_> = named
            .map(|(told, arn)| (arn.to_owned(), told.clone()))
            .collect();
        let check = layers(&named, "x86_64", Some(200 * MIB), Some(250 * MIB));
        (check.verdict, check.detail)
    }

    #[test]
    fn what_is_known_of_layers_is_told_and_what_is_not() {
        let (verdict, detail) = check(&[there(20, &["x86_64"]), there(10, &[])]);
        assert_eq!(verdict, Verdict::Warning);
        assert_eq!(
            detail,
            "2 of 2 there, 30.0 MiB zipped; how large they are unzipped Lambda does not tell: beside the package 50.0 MiB are left"
        );
        let (verdict, detail) = check(&[there(40, &[]), there(20, &[])]);
        assert_eq!(verdict, Verdict::Refused);
        assert!(
            detail.contains("the zips of its layers 60.0 MiB"),
            "{detail}"
        );
        let (verdict, detail) = check(&[Told::Missing, there(1, &[])]);
        assert_eq!(
            (verdict, detail.as_str()),
            (Verdict::Refused, "there is no a")
        );
        let (verdict, detail) = check(&[Told::Unknown("denied".to_owned()), there(1, &["arm64"])]);
        assert_eq!(verdict, Verdict::NotChecked);
        for told in [
            "a was not checked: denied",
            "b is published for arm64, the function is for x86_64",
            "1 of 2 there",
        ] {
            assert!(detail.contains(told), "{told} is missing in {detail}");
        }
        let unknown = || Told::Unknown("denied".to_owned());
        let (_, detail) = check(&[unknown(), unknown()]);
        assert_eq!(detail, "a, b were not checked: denied");
        assert_eq!(
            name("arn:aws:lambda:us-east-1:1:layer:fonts:31"),
            "fonts:31"
        );
    }
}
