//! What a plan does to the size of the function's code.

use crate::bundle::UNZIPPED_BYTES_MAX;
use crate::cli::ui::{Style, Ui};
use crate::plan::code_size::{CodeSize, PartSize};

/// The section for people, ending in a line break; nothing where the code stays.
pub(crate) fn code_size_text(size: Option<&CodeSize>, ui: &Ui) -> String {
    let Some(size) = size else {
        return String::new();
    };
    let title = ui.paint(Style::Bold, "Size of the function's code:");
    let width = size.parts.iter().map(|part| part.name.len());
    let width = width.max().unwrap_or(0).max("in all".len());
    let mut lines: Vec<String> = size.parts.iter().map(|part| line(part, width)).collect();
    let of = format!("of {} that Lambda unzips", megabytes(UNZIPPED_BYTES_MAX));
    let after = megabytes(size.after_bytes);
    lines.push(match size.before_bytes {
        Some(before) => format!(
            "  {:width$}  {} -> {after} ({}), {of}",
            "in all",
            megabytes(before),
            difference(before, size.after_bytes),
        ),
        None => format!(
            "  {:width$}  {after}, {of}; what is deployed was not packed on this machine, so its parts are not known",
            "in all"
        ),
    });
    format!("\n{title}\n{}\n", lines.join("\n"))
}

fn line(part: &PartSize, width: usize) -> String {
    let name = format!("{:width$}", part.name);
    match (part.before_bytes, part.after_bytes) {
        (Some(before), Some(after)) => format!(
            "~ {name}  {} -> {} ({})",
            megabytes(before),
            megabytes(after),
            difference(before, after)
        ),
        (None, Some(after)) => format!("+ {name}  {}", megabytes(after)),
        (Some(before), None) => format!("- {name}  {}", megabytes(before)),
        (None, None) => name,
    }
}

fn difference(before: u64, after: u64) -> String {
    match after.checked_sub(before) {
        Some(more) => format!("+{}", megabytes(more)),
        None => format!("-{}", megabytes(before - after)),
    }
}

/// Millions of bytes, one digit behind the point; thousands where that says more.
fn megabytes(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{}.{} kB", bytes / 1_000, bytes / 100 % 10),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn sizes_are_told_part_by_part() {
        let sizes = |parts: &[(&str, u64)]| -> BTreeMap<String, u64> {
            let parts = parts.iter();
            parts
                .map(|(name, size)| ((*name).to_owned(), *size))
                .collect()
        };
        let before = sizes(&[("chromium", 199_800_000), ("worker", 23_700_000)]);
        let after = sizes(&[
            ("chromium", 199_800_000),
            ("conf", 1_234),
            ("worker", 21_200_000),
        ]);
        let size = CodeSize::new(Some(&before), &after);
        assert_eq!(
            code_size_text(Some(&size), &Ui::plain()),
            "\nSize of the function's code:\n\
             + conf    1.2 kB\n\
             ~ worker  23.7 MB -> 21.2 MB (-2.5 MB)\n  \
             in all  223.5 MB -> 221.0 MB (-2.4 MB), of 262.1 MB that Lambda unzips\n"
        );
        let unknown = code_size_text(Some(&CodeSize::new(None, &after)), &Ui::plain());
        assert!(unknown.contains("221.0 MB, of 262.1 MB"), "{unknown}");
        assert_eq!(code_size_text(None, &Ui::plain()), "");
    }
}
