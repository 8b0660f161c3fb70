//! A service with one function whose runtime, `runtime.py`, does what its event asks for.

use bytes::Bytes;

use super::*;

pub(super) const RUNTIME: &str = include_str!("runtime.py");

/// Nothing here takes long; what waits in vain ends here.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Cloud {
    pub(super) folder: tempfile::TempDir,
    pub(super) service: Arc<LambdaService>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) function_error: Option<String>,
    pub(super) version: String,
    pub(super) tail: String,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Cloud {
    /// A cloud with one function `f`, active.
    pub(super) async fn with(change: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut service = super::service(&folder.path().join("data"));
        let mut settings = settings(&folder.path().join("data"));
        let tool = ("TOOL".to_owned(), "here".to_owned());
        settings.worker_environment = std::collections::BTreeMap::from([tool]);
        service.executor = Executor::new(settings);
        service.event_retry_pause = Duration::from_millis(10);
        let cloud = Self {
            folder,
            service: Arc::new(service),
        };
        let mut body = create("f");
        body["Code"]["ZipFile"] = STANDARD.encode(zip(RUNTIME)).into();
        body["Timeout"] = 20.into();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, _, answer) = call(&cloud.service, Method::POST, FUNCTIONS, body).await;
        assert_eq!(status, 201, "{answer}");
        settle(&cloud.service);
        cloud
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(super) async fn send(
        &self,
        path: &str,
        kind: &str,
        payload: impl Into<Bytes>,
    ) -> Response<Body> {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-amz-log-type", "Tail".parse().unwrap());
        headers.insert("x-amz-invocation-type", kind.parse().unwrap());
        let request = request(Method::POST, path, headers, payload);
        tokio::time::timeout(LIMIT, self.service.handle(request))
            .await
            .unwrap()
    }

    pub(super) async fn invoke_as(&self, kind: &str, payload: impl Into<Bytes>) -> Answer {
        let response = self
            .send("/2015-03-31/functions/f/invocations", kind, payload)
            .await;
        let text = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let tail = text("x-amz-log-result").unwrap_or_default();
        Answer {
            status: response.status().as_u16(),
            kind: text("x-amzn-errortype").unwrap_or_default(),
            function_error: text("x-amz-function-error"),
            version: text("x-amz-executed-version").unwrap_or_default(),
            tail: String::from_utf8(STANDARD.decode(tail).unwrap()).unwrap(),
            body: response.into_body().collect().await.unwrap().to_bytes(),
        }
    }

    pub(super) async fn invoke(&self, event: Value) -> Answer {
        self.invoke_as("RequestResponse", event.to_string()).await
    }

    /// Waits until `condition` holds.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} does not come about");
    }
}
