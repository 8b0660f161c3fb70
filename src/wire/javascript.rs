//! JSON as JavaScript writes it: what `JSON.stringify(JSON.parse(text))` makes of a text. Receivers of webhooks check the signature
//! of that, not of the bytes they were sent.

use serde_json::Value;

/// Above this, numbers are written with an exponent (ECMA-262, Number::toString).
const DIGITS_MAX: usize = 21;

/// `JSON.stringify(value)`, for a value that came out of `JSON.parse`.
pub(super) fn stringify(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&decimal(number.as_f64().unwrap_or(0.0))),
        Value::String(text) => write_text(text, out),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            // Keys that are array indices come first and ascending, all others as they were written.
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| array_index(key).map_or((1, 0), |index| (0, index)));
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// Both escape the same characters in the same way, and leave all others as they are.
fn write_text(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

/// The number that `key` is as an index of an array (ECMA-262, 6.1.7).
fn array_index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index != u32::MAX && index.to_string() == key).then_some(index)
}

/// The shortest text that means this number, as ECMA-262 writes it.
fn decimal(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    // How many of the digits stand before the point.
    let before = exponent + 1;
    let (positive, zeros) = (
        usize::try_from(before).unwrap_or(0),
        usize::try_from(-before).unwrap_or(0),
    );
    let unsigned = if positive >= digits.len() && positive <= DIGITS_MAX {
        format!("{digits}{}", "0".repeat(positive - digits.len()))
    } else if (1..=DIGITS_MAX).contains(&positive) {
        let (whole, part) = digits.split_at(positive);
        format!("{whole}.{part}")
    } else if positive == 0 && zeros < 6 {
        format!("0.{}{digits}", "0".repeat(zeros))
    } else {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{first}{point}{rest}e{exponent:+}")
    };
    format!("{sign}{unsigned}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        stringify(&serde_json::from_str(text).unwrap())
    }

    /// The right-hand sides are what Node.js answers.
    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (text, expected) in [
            ("5.0", "5"),
            ("-0.0", "0"),
            ("0", "0"),
            ("1e3", "1000"),
            ("0.1", "0.1"),
            ("-12.50", "-12.5"),
            ("123456789012345680000", "123456789012345680000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.25e-9", "1.25e-9"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615", "18446744073709552000"),
        ] {
            assert_eq!(again(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_and_texts_are_in_javascripts_order_and_escapes() {
        assert_eq!(
            again(
                r#" {"b": [1, {}], "10": null, "2": true, "01": false, "a": {"1": "x", "0": []}} "#
            ),
            r#"{"2":true,"10":null,"b":[1,{}],"01":false,"a":{"0":[],"1":"x"}}"#
        );
        assert_eq!(
            again(r#""\u00e9\ud83c\udfac\u2028\u007f\/\u0001\b\f\n\r\t\"\\""#),
            "\"é🎬\u{2028}\u{7f}/\\u0001\\b\\f\\n\\r\\t\\\"\\\\\""
        );
        assert_eq!(
            again(r#"{"4294967295":1,"4294967294":2}"#),
            r#"{"4294967294":2,"4294967295":1}"#
        );
    }
}
