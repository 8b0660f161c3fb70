//! Lays a stage over the rest of the file: tables merge key by key, sites by name, everything else is replaced.

use super::check::excludes;
use super::keys;
use super::rule::{Kind, TableRule};
use super::tree::{Node, Table, Value};

/// `base` with the stage's table over it. Both have been checked.
pub(super) fn apply(base: &mut Table, stage: &Table) {
    merge(base, stage, &keys::ROOT);
}

fn merge(base: &mut Table, over: &Table, rule: &TableRule) {
    for entry in &over.entries {
        for (one, other) in rule.exclusive {
            let displaced = match entry.name.as_str() {
                name if name == *one => other,
                name if name == *other => one,
                _ => continue,
            };
            if excludes(entry) {
                base.entries.retain(|entry| entry.name != **displaced);
            }
        }
        let kind = rule.key(&entry.name).map(|key| &key.kind);
        let below = base.entries.iter_mut().find(|one| one.name == entry.name);
        match (below, kind) {
            (None, _) => base.entries.push(entry.clone()),
            (Some(below), Some(kind)) => match (kind, &mut below.node.value, &entry.node.value) {
                (Kind::Table(rule), Value::Table(base), Value::Table(over)) => {
                    merge(base, over, rule);
                }
                (Kind::Tables(rule), Value::List(base), Value::List(over)) => {
                    merge_by_name(base, over, rule);
                }
                (Kind::Environment, Value::Table(base), Value::Table(over)) => {
                    for variable in &over.entries {
                        base.entries.retain(|one| one.name != variable.name);
                        base.entries.push(variable.clone());
                    }
                }
                _ => below.node = entry.node.clone(),
            },
            (Some(below), None) => below.node = entry.node.clone(),
        }
    }
}

fn merge_by_name(base: &mut Vec<Node>, over: &[Node], rule: &TableRule) {
    for node in over {
        let Value::Table(table) = &node.value else {
            continue;
        };
        let same = base.iter_mut().find_map(|one| match &mut one.value {
            Value::Table(below) if below.text("name") == table.text("name") => Some(below),
            _ => None,
        });
        match same {
            Some(below) => merge(below, table, rule),
            None => base.push(node.clone()),
        }
    }
}
