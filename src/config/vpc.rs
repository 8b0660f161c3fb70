//! `[function.vpc]`: the keys of the network a function is attached to.

use super::rule::{Default, Key, Kind, TableRule, TextRule, aws_id};

pub(super) static VPC: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "subnet_ids",
            kind: Kind::Texts {
                rule: &TextRule {
                    what: "a subnet id",
                    rule: "`subnet-` and 8 or 17 hexadecimal digits",
                    valid: |text| aws_id(text, "subnet-"),
                },
                count_min: 1,
                count_max: 16,
            },
            default: Default::Required("[\"subnet-0123456789abcdef0\"]"),
            doc: "Subnets.",
        },
        Key {
            name: "security_group_ids",
            kind: Kind::Texts {
                rule: &TextRule {
                    what: "a security group id",
                    rule: "`sg-` and 8 or 17 hexadecimal digits",
                    valid: |text| aws_id(text, "sg-"),
                },
                count_min: 1,
                count_max: 5,
            },
            default: Default::Required("[\"sg-0123456789abcdef0\"]"),
            doc: "Security groups.",
        },
    ]],
    exclusive: &[],
};
