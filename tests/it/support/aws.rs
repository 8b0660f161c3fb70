//! A project on the embedded cloud as if it were AWS: with credentials, roles and policies of its own.

use aws_config::SdkConfig;
use serde_json::{Value, json};

use super::cloud::TestCloud;
use super::{Output, TestProject};

/// The account and region of the cloud.
pub(crate) const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-central-1";

/// Everything that planning reads.
pub(crate) const READING: [&str; 8] = [
    "iam:Get*",
    "iam:List*",
    "lambda:Get*",
    "lambda:List*",
    "logs:Describe*",
    "logs:List*",
    "s3:Get*",
    "s3:List*",
];

/// Who may assume the roles of [`AwsProject::role`]: everybody of the account.
const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}}"#;

/// A project and its cloud. `rmx` calls as the one user until [`AwsProject::become_role`].
pub(crate) struct AwsProject {
    pub(crate) project: TestProject,
    pub(crate) test_cloud: TestCloud,
    sdk: SdkConfig,
}

impl AwsProject {
    /// A project that can be applied without building anything, with `more` in its configuration.
    pub(crate) async fn start(more: &str) -> Self {
        let test_cloud = TestCloud::start().await;
        let connection = test_cloud.connection();
        let endpoint_url = connection.endpoint_url.unwrap();
        let credentials = connection.credentials.unwrap();
        let sdk = test_cloud.sdk().await;
        let mut project = TestProject::new();
        project.write("function/bootstrap", "#!/bin/sh\nexit 1\n");
        project.write("page/index.html", "<p>1</p>");
        project.set_variable("AWS_ENDPOINT_URL", &endpoint_url);
        project.set_variable("AWS_ACCESS_KEY_ID", &credentials.access_key_id);
        project.set_variable("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key);
        let this = Self {
            project,
            test_cloud,
            sdk,
        };
        this.configure(more);
        this
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, more: &str) {
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "x86_64"
        };
        let text = format!(
            "project = \"hello\"\ntarget = \"aws\"\nregion = \"{REGION}\"\n\
             [function]\npackage = \"function\"\narchitecture = \"{architecture}\"\n{more}\n\
             [[site]]\nname = \"page\"\nfolder = \"page\"\n"
        );
        self.project.write("remotion.toml", &text);
    }

    /// Runs `rmx` while the cloud goes on answering.
    pub(crate) fn rmx(&self, arguments: &[&str]) -> Output {
        tokio::task::block_in_place(|| self.project.rmx(arguments))
    }

    /// The plan as a document, whatever the exit code.
    pub(crate) fn plan_json(&self) -> Value {
        let output = self.rmx(&["plan", "--json"]);
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"))
    }

    /// Makes a role of these statements and returns its ARN.
    pub(crate) async fn role(&self, name: &str, path: &str, statements: Value) -> String {
        let iam = aws_sdk_iam::Client::new(&self.sdk);
        let role = iam
            .create_role()
            .role_name(name)
            .path(path)
            .assume_role_policy_document(TRUST)
            .send()
            .await
            .unwrap();
        self.allow(name, statements).await;
        role.role.unwrap().arn
    }

    /// Gives a role these statements and no others.
    pub(crate) async fn allow(&self, name: &str, statements: Value) {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        let iam = aws_sdk_iam::Client::new(&self.sdk);
        iam.put_role_policy()
            .role_name(name)
            .policy_name("test")
            .policy_document(policy.to_string())
            .send()
            .await
            .unwrap();
    }

    /// Lambda, for what rmx never does.
    pub(crate) fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::new(&self.sdk)
    }

    /// Makes a managed policy and returns its ARN.
    pub(crate) async fn policy(&self, name: &str, statements: Value) -> String {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        let iam = aws_sdk_iam::Client::new(&self.sdk);
        let made = iam
            .create_policy()
            .policy_name(name)
            .policy_document(policy.to_string())
            .send()
            .await
            .unwrap();
        made.policy.unwrap().arn.unwrap()
    }

    /// From now on `rmx` calls as whoever has assumed the role.
    pub(crate) async fn become_role(&mut self, arn: &str) {
        let sts = aws_sdk_sts::Client::new(&self.sdk);
        let session = sts
            .assume_role()
            .role_arn(arn)
            .role_session_name("ci")
            .send()
            .await
            .unwrap();
        let credentials = session.credentials.unwrap();
        let project = &mut self.project;
        project.set_variable("AWS_ACCESS_KEY_ID", &credentials.access_key_id);
        project.set_variable("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key);
        project.set_variable("AWS_SESSION_TOKEN", &credentials.session_token);
    }
}

/// A statement that allows `actions` on everything.
pub(crate) fn allow(actions: &[&str]) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": "*" })
}
