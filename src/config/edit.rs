//! Keys written into a file that people write: everything else of it stays, comments included.

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// `text` with each of `values`: a table, a key in it, and what it is to be. In `[stage.NAME]` if a stage is named.
///
/// # Errors
/// It is not TOML, or something stands where a table should: in words.
pub fn edited(
    text: &str,
    stage: Option<&str>,
    values: &[(&str, &str, Value)],
) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    for (table, key, value) in values {
        let mut place: &mut dyn TableLike = document.as_table_mut();
        if let Some(stage) = stage {
            place = inside(inside(place, "stage")?, stage)?;
        }
        let place = inside(place, table)?;
        let mut value = value.clone();
        match place.get_mut(key) {
            None => drop(place.insert(key, Item::Value(value))),
            Some(item) => {
                // What stands around the value stays.
                if let Some(before) = item.as_value() {
                    *value.decor_mut() = before.decor().clone();
                }
                *item = Item::Value(value);
            }
        }
    }
    Ok(document.to_string())
}

/// The table `name` in `table`, made if it is not there.
fn inside<'a>(table: &'a mut dyn TableLike, name: &str) -> Result<&'a mut dyn TableLike, String> {
    let new = || {
        let mut table = Table::new();
        // No line for a table that holds nothing but tables.
        table.set_implicit(true);
        Item::Table(table)
    };
    table
        .entry(name)
        .or_insert_with(new)
        .as_table_like_mut()
        .ok_or_else(|| format!("`{name}` is not a table"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let text = "# mine\nproject = \"a\"\n\n[function]\n# how much\nmemory_mb = 1024 # enough\ntimeout_s=9\n";
        let values = [
            ("function", "memory_mb", Value::from(2048)),
            ("function", "timeout_s", Value::from(9)),
            ("bucket", "name", Value::from("b")),
        ];
        let told = "# mine\nproject = \"a\"\n\n[function]\n# how much\nmemory_mb = 2048 # enough\ntimeout_s=9\n\n[bucket]\nname = \"b\"\n";
        let once = edited(text, None, &values).unwrap();
        assert_eq!(
            once.replace("\n\n[bucket]", "\n[bucket]"),
            told.replace("\n\n[bucket]", "\n[bucket]")
        );
        assert_eq!(edited(&once, None, &values).unwrap(), once);
        let staged = edited("project = \"a\"\n", Some("live"), &values[2..]).unwrap();
        assert!(
            staged.ends_with("[stage.live.bucket]\nname = \"b\"\n"),
            "{staged}"
        );
        assert!(edited("bucket = 1\n", None, &values).is_err());
        assert!(edited("no toml", None, &values).is_err());
    }
}
