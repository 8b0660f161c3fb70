//! `SimulatePrincipalPolicy` and `SimulateCustomPolicy`: whether policies allow actions on resources.
//!
//! Policy variables are not evaluated, and the texts of AWS's own policies are not known here: what depends on them is
//! refused by name, never guessed. The local user may do everything.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::local::http::Request;
use crate::local::query::{Input, QueryError, Xml};
use crate::names::AccountId;

use super::conditions::{self, Context};
use super::document::{self, Kind, texts};
use super::held::Held;
use super::input::Page;
use super::model::{Iam, LocalUser, no_role};
use super::{DOCUMENT, IamService, no_such};

/// What the local user may do.
const EVERYTHING: &str = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

/// Parameters whose meaning depends on resource policies.
const NOT_SUPPORTED: &[&str] = &[
    "ResourcePolicy",
    "ResourceOwner",
    "CallerArn",
    "ResourceHandlingOption",
];

/// Context entries that are read at most.
const CONTEXT_ENTRIES_MAX: usize = 100;

/// A policy and where it comes from.
#[derive(Debug)]
pub(super) struct Source {
    id: String,
    statements: Vec<Value>,
}

/// What is asked, of whom.
#[derive(Debug)]
struct Question {
    policies: Vec<Source>,
    /// If there are any, they have to allow it too.
    boundaries: Vec<Source>,
    actions: Vec<String>,
    resources: Vec<String>,
    context: Context,
    page: Page,
}

/// IAM's three answers, the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Allowed,
    ImplicitDeny,
    ExplicitDeny,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::ImplicitDeny => "implicitDeny",
            Self::ExplicitDeny => "explicitDeny",
        }
    }
}

/// An answer, the policies whose statements decided, and the context keys that statements asked for in vain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision<'a> {
    pub(super) verdict: Verdict,
    sources: Vec<&'a str>,
    missing: BTreeSet<String>,
}

impl IamService {
    pub(super) fn simulate_principal_policy(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let arn = input.required("PolicySourceArn")?;
        let mut question = Question::take(input)?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let prefix = format!("arn:aws:iam::{}:", request.account);
        match arn
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_once('/'))
        {
            Some(("user", LocalUser::NAME)) => {
                question
                    .policies
                    .push(Source::parse(LocalUser::NAME, EVERYTHING)?);
            }
            Some(("role", path)) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                let role = iam.role(name)?;
                if format!("/{path}") != format!("{}{name}", role.path) {
                    return Err(no_role(name));
                }
                let held = Held::by(&iam, role, &request.account)?;
                if let Some(arn) = held.unknown.first() {
                    return Err(unknown_policy(arn, &request.account));
                }
                question.policies.extend(held.policies);
                question.boundaries.extend(held.boundaries);
            }
            _ => return Err(no_such(format!("{arn} does not exist."))),
        }
        question.answer()
    }

    pub(super) fn simulate_custom_policy(&self, input: Input) -> Result<Option<Xml>, QueryError> {
        let question = Question::take(input)?;
        if question.policies.is_empty() {
            return Err(QueryError::new(
                400,
                "ValidationError",
                "1 validation error detected: Value null at 'policyInputList' failed to satisfy constraint: \
                 Member must not be null",
            ));
        }
        question.answer()
    }
}

impl Question {
    fn take(mut input: Input) -> Result<Self, QueryError> {
        for name in NOT_SUPPORTED {
            if input.take(name).is_some() {
                return Err(not_evaluated(name));
            }
        }
        let mut sources = |name: &str| {
            let policies = input.list(name).into_iter().enumerate();
            policies
                .map(|(index, text)| Source::parse(&format!("{name}.{}", index + 1), &text))
                .collect::<Result<Vec<_>, _>>()
        };
        let policies = sources("PolicyInputList")?;
        let boundaries = sources("PermissionsBoundaryPolicyInputList")?;
        let actions = input.list("ActionNames");
        let mut resources = input.list("ResourceArns");
        if resources.is_empty() {
            resources.push("*".to_owned());
        }
        if let Some(wrong) = actions.iter().find(|action| !action.contains(':')) {
            return Err(QueryError::new(
                400,
                "InvalidInput",
                format!("Invalid Action Name: {wrong}"),
            ));
        }
        let context = context(&mut input);
        let page = Page::take(&mut input)?;
        input.finish()?;
        if actions.is_empty() {
            return Err(QueryError::new(
                400,
                "ValidationError",
                "1 validation error detected: Value null at 'actionNames' failed to satisfy constraint: \
                 Member must not be null",
            ));
        }
        Ok(Self {
            policies,
            boundaries,
            actions,
            resources,
            context,
            page,
        })
    }

    /// One result an action, with one for each resource that was named in it (API reference, `EvaluationResult`). The
    /// action's own is the strictest of these. Keys that are missing stand with the resource if one was named, and else
    /// with the action.
    fn answer(&self) -> Result<Option<Xml>, QueryError> {
        let mut results = Vec::new();
        for action in &self.actions {
            let outcomes = self.resources.iter().map(|resource| {
                let outcome = self.outcome(action, resource)?;
                Ok((resource.as_str(), outcome))
            });
            let outcomes = outcomes.collect::<Result<Vec<_>, QueryError>>()?;
            // Numbers with leading zeros sort as they count, which is what paging goes by.
            results.push((format!("{:06}", results.len()), (action, outcomes)));
        }
        let rows = results.iter().map(|(key, result)| (key, result));
        Ok(Some(self.page.of(
            "EvaluationResults",
            rows,
            |xml, _, (action, outcomes)| {
                let whole = outcomes.iter().map(|(_, outcome)| outcome);
                let Some(whole) = whole.max_by_key(|outcome| outcome.decision.verdict) else {
                    return;
                };
                // The templates of ARNs that AWS names here are not known.
                xml.text("EvalActionName", action)
                    .text("EvalResourceName", "*")
                    .text("EvalDecision", whole.decision.verdict.as_str());
                whole.details(xml, self.resources == ["*"]);
                let specific = outcomes.iter().filter(|(resource, _)| *resource != "*");
                let specific: Vec<_> = specific.collect();
                xml.list(
                    "ResourceSpecificResults",
                    specific,
                    |xml, (resource, outcome)| {
                        xml.text("EvalResourceName", resource)
                            .text("EvalResourceDecision", outcome.decision.verdict.as_str());
                        outcome.details(xml, true);
                    },
                );
            },
        )))
    }

    fn outcome(&self, action: &str, resource: &str) -> Result<Outcome<'_>, QueryError> {
        let decision = decide(&self.policies, action, resource, &self.context)?;
        if self.boundaries.is_empty() {
            return Ok(Outcome {
                decision,
                allowed_by_boundary: None,
            });
        }
        let bound = decide(&self.boundaries, action, resource, &self.context)?;
        let allowed = bound.verdict == Verdict::Allowed;
        let missing: BTreeSet<String> = decision.missing.union(&bound.missing).cloned().collect();
        let decisive = match bound.verdict > decision.verdict {
            true => bound,
            false => decision,
        };
        Ok(Outcome {
            decision: Decision {
                missing,
                ..decisive
            },
            allowed_by_boundary: Some(allowed),
        })
    }
}

/// What becomes of an action on a resource.
struct Outcome<'a> {
    decision: Decision<'a>,
    /// `None` if there is no boundary.
    allowed_by_boundary: Option<bool>,
}

impl Outcome<'_> {
    fn details(&self, xml: &mut Xml, tells_missing: bool) {
        xml.list(
            "MatchedStatements",
            &self.decision.sources,
            |xml, source| {
                xml.text("SourcePolicyId", source)
                    .text("SourcePolicyType", "IAM Policy");
            },
        );
        let missing = self.decision.missing.iter().filter(|_| tells_missing);
        xml.list("MissingContextValues", missing, Xml::bare);
        if let Some(allowed) = self.allowed_by_boundary {
            xml.element("PermissionsBoundaryDecisionDetail", |xml| {
                xml.text("AllowedByPermissionsBoundary", allowed);
            });
        }
    }
}

impl Source {
    pub(super) fn parse(id: &str, text: &str) -> Result<Self, QueryError> {
        document::check(text, Kind::Identity)?;
        let policy: Value = serde_json::from_str(text).unwrap_or_default();
        Ok(Self {
            id: id.to_owned(),
            statements: match &policy["Statement"] {
                Value::Array(statements) => statements.clone(),
                statement => vec![statement.clone()],
            },
        })
    }
}

pub(super) fn unknown_policy(arn: &str, account: &AccountId) -> QueryError {
    not_evaluated(&format!(
        "the policy {arn}, which is not of account {account}"
    ))
}

/// Takes `ContextEntries`.
fn context(input: &mut Input) -> Context {
    let mut context = Context::default();
    for index in 1..=CONTEXT_ENTRIES_MAX {
        let entry = format!("ContextEntries.member.{index}");
        let Some(key) = input.take(&format!("{entry}.ContextKeyName")) else {
            break;
        };
        // Every value is compared as a text, so its type says nothing new.
        input.take(&format!("{entry}.ContextKeyType"));
        context = context.with(&key, input.list(&format!("{entry}.ContextKeyValues")));
    }
    context
}

/// A denial wins over whatever allows; what nothing allows is denied.
pub(super) fn decide<'a>(
    sources: &'a [Source],
    action: &str,
    resource: &str,
    context: &Context,
) -> Result<Decision<'a>, QueryError> {
    let mut allowing = Vec::new();
    let mut denying = Vec::new();
    let mut missing = BTreeSet::new();
    for source in sources {
        for statement in &source.statements {
            if !applies(statement, action, resource)? {
                continue;
            }
            let outcome = conditions::evaluate(statement.get("Condition"), context)?;
            missing.extend(outcome.missing);
            if !outcome.met {
                continue;
            }
            if statement["Effect"] == "Deny" {
                denying.push(source.id.as_str());
            } else {
                allowing.push(source.id.as_str());
            }
        }
    }
    let (verdict, sources) = match (denying.is_empty(), allowing.is_empty()) {
        (false, _) => (Verdict::ExplicitDeny, denying),
        (true, false) => (Verdict::Allowed, allowing),
        (true, true) => (Verdict::ImplicitDeny, Vec::new()),
    };
    Ok(Decision {
        verdict,
        sources,
        missing,
    })
}

fn applies(statement: &Value, action: &str, resource: &str) -> Result<bool, QueryError> {
    let any = |field: &str, matches: &dyn Fn(&str) -> bool| {
        texts(&statement[field]).map(|patterns| patterns.into_iter().any(matches))
    };
    let action = action.to_ascii_lowercase();
    let names_action = |pattern: &str| matches(&pattern.to_ascii_lowercase(), &action);
    let names_resource = |pattern: &str| matches(pattern, resource);
    let action_applies = any("Action", &names_action)
        .or_else(|| any("NotAction", &names_action).map(|named| !named));
    if action_applies != Some(true) {
        return Ok(false);
    }
    for field in ["Resource", "NotResource"] {
        if any(field, &|pattern| pattern.contains("${")) == Some(true) {
            return Err(not_evaluated("policy variables (`${...}`)"));
        }
    }
    let resource_applies = any("Resource", &names_resource)
        .or_else(|| any("NotResource", &names_resource).map(|named| !named));
    Ok(resource_applies == Some(true))
}

/// Whether `pattern` with `*` and `?` matches the whole `text`. Takes at most pattern times text steps.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut reached) = (0, 0);
    // The last `*`, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while reached < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, reached));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[reached] => {
                at += 1;
                reached += 1;
            }
            _ => {
                let Some((star_at, star_reached)) = star else {
                    return false;
                };
                star = Some((star_at, star_reached + 1));
                at = star_at + 1;
                reached = star_reached + 1;
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

pub(super) fn not_evaluated(what: &str) -> QueryError {
    QueryError::new(
        501,
        "NotImplemented",
        format!("the embedded cloud does not evaluate {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(statements: &str, action: &str, resource: &str) -> &'static str {
        let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
        let sources = [Source::parse("p", &policy).unwrap()];
        decide(&sources, action, resource, &Context::default())
            .map_or("refused", |decision| decision.verdict.as_str())
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/x/*", "a/x/", true),
            ("abc", "abcd", false),
            ("a*", "a*", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn denial_wins_and_silence_denies() {
        let allow = r#"{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}"#;
        let deny = r#"{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::b/secret/*"}"#;
        let both = format!("{allow}, {deny}");
        assert_eq!(
            decided(&both, "S3:getobject", "arn:aws:s3:::b/a"),
            "allowed"
        );
        assert_eq!(
            decided(&both, "s3:GetObject", "arn:aws:s3:::b/secret/a"),
            "explicitDeny"
        );
        assert_eq!(
            decided(&both, "s3:PutObject", "arn:aws:s3:::b/a"),
            "implicitDeny"
        );
        assert_eq!(
            decided(&both, "s3:GetObject", "arn:aws:s3:::c/a"),
            "implicitDeny"
        );
        let not = r#"{"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::b/*"}"#;
        assert_eq!(decided(not, "s3:GetObject", "*"), "allowed");
        assert_eq!(decided(not, "iam:GetRole", "*"), "implicitDeny");
        assert_eq!(
            decided(not, "s3:GetObject", "arn:aws:s3:::b/a"),
            "implicitDeny"
        );
    }

    #[test]
    fn conditions_decide_and_variables_are_refused() {
        let condition = r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": "true"}}}"#;
        assert_eq!(
            decided(condition, "s3:GetObject", "*"),
            "implicitDeny",
            "nothing is known of the transport"
        );
        let unknown = r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}"#;
        assert_eq!(decided(unknown, "s3:GetObject", "*"), "refused");
        assert_eq!(
            decided(unknown, "iam:GetRole", "*"),
            "implicitDeny",
            "it does not matter here"
        );
        let variable =
            r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:username}"}"#;
        assert_eq!(decided(variable, "s3:GetObject", "*"), "refused");
    }
}
