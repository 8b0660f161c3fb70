//! Text that others wrote, made harmless before it is shown: names and messages from the cloud, what a page says.
//!
//! A terminal takes orders from control characters (a title, the clipboard), a pipeline from lines that begin with `::`, a
//! comment from backticks. What is shown of such characters are their escapes.

/// `text` on one line.
pub(crate) fn one_line(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match is_order(c) {
            true => harmless.extend(c.escape_default()),
            false => harmless.push(c),
        }
    }
    harmless
}

/// `text` with its line breaks. No line of it is an order to the pipeline that shows it: GitHub's begin with `::`, older ones
/// and Azure's have `##[` or `##vso[` anywhere.
pub(crate) fn lines(text: &str) -> String {
    let line = |line: &str| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line: Vec<String> = line.split('\t').map(one_line).collect();
        let line = line.join("\t").replace("##[", "# #[");
        let line = line.replace("##vso[", "# #vso[");
        match line.trim_start().starts_with("::") {
            true => format!("| {line}"),
            false => line,
        }
    };
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// `text` between backticks, on one line of at most `characters_max` characters: a code span of Markdown.
pub(crate) fn quoted(text: &str, characters_max: usize) -> String {
    let text = one_line(text).replace('`', "\\u{60}");
    match text.char_indices().nth(characters_max) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}\u{2026}`", &text[..end]),
    }
}

/// Control characters, and those that end a line or turn the direction of what follows.
fn is_order(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_gives_orders() {
        let title = "a\u{1b}]0;title\u{7}b\u{9b}c\u{202e}d\r\ne \u{e4}\u{1f39e}";
        assert_eq!(
            one_line(title),
            "a\\u{1b}]0;title\\u{7}b\\u{9b}c\\u{202e}d\\r\\ne \u{e4}\u{1f39e}"
        );
        assert_eq!(
            lines("one\r\n  ::error::two\n\tthree ##[group]\u{1b}[2J\nfour::five ##vso[x]"),
            "one\n|   ::error::two\n\tthree # #[group]\\u{1b}[2J\nfour::five # #vso[x]"
        );
        assert_eq!(quoted("a`\n> b", 20), "`a\\u{60}\\n> b`");
        assert_eq!(
            quoted(&"\u{1f39e}".repeat(9), 3),
            "`\u{1f39e}\u{1f39e}\u{1f39e}\u{2026}`"
        );
    }
}
