# Rules of a team for what `rmx` may do to a farm, on the document of `rmx plan --json` or `rmx show --json PLANFILE`:
#
#     conftest test --policy docs/policies plan.json
#
# Each rule is an example of another part of the document; take what you need.
package main

import rego.v1

# The bucket holds what was rendered: it is made once.
deny contains message if {
	some change in input.resource_changes
	change.type == "bucket"
	some action in change.change.actions
	action in {"delete", "forget"}
	message := sprintf("%s must stay", [change.address])
}

# Memory is what a render is paid for.
deny contains message if {
	some change in input.resource_changes
	change.type == "function"
	change.change.after.memory_mb > 4096
	message := sprintf("%s would have %d MB", [change.address, change.change.after.memory_mb])
}

# A role that may do more than before is looked at by a person.
deny contains message if {
	some change in input.resource_changes
	count(change.change.iam.widened) > 0
	message := sprintf("%s is widened: %s", [change.address, concat(", ", change.change.iam.widened)])
}

# A minute of video has its price, and an unknown price is none that was agreed to.
deny contains message if {
	input.cost.remains
	input.cost.after_usd == null
	message := sprintf("nobody knows what rendering costs in %s", [input.cost.region])
}

deny contains message if {
	input.cost.after_usd > 0.05
	message := sprintf("a minute of video would cost %v USD", [input.cost.after_usd])
}

# What preflight found.
deny contains message if {
	some check in input.preflight.checks
	check.verdict == "refused"
	message := sprintf("%s: %s", [check.subject, check.detail])
}

warn contains message if {
	some check in input.preflight.checks
	check.verdict in {"warning", "not_checked"}
	message := sprintf("%s: %s", [check.subject, check.detail])
}

# Nothing is lost without a word.
warn contains message if {
	some loss in input.data_loss
	message := sprintf("%s would lose %d %s", [loss.address, loss.count, loss.kind])
}
