//! Service Quotas of the embedded cloud: what the account may use of Lambda, as Lambda itself says it.

use rmx::local::{Faults, LocalOptions, Quotas, Running};
use serde_json::{Value, json};

use crate::support::signed::call;

const CONCURRENCY: &str = "L-B99A9384";

async fn start(faults: &Faults, folder: &std::path::Path) -> Running {
    let options = LocalOptions {
        directory: folder.join("local"),
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        faults: faults.clone(),
        worker_environment: Default::default(),
        isolation: None,
        node: None,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rmx::local::start(options, listener).await.unwrap()
}

#[tokio::test]
async fn quotas_are_those_that_lambda_has_and_a_request_to_raise_one_waits() {
    let (faults, folder) = (Faults::default(), tempfile::tempdir().unwrap());
    let running = start(&faults, folder.path()).await;
    let ask = async |operation: &str, more: &Value| {
        let mut input = json!({ "ServiceCode": "lambda", "QuotaCode": CONCURRENCY });
        input
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let target = format!("ServiceQuotasV20190624.{operation}");
        call(&running, "servicequotas", &target, &input).await
    };
    let nothing = json!({});
    let history = "ListRequestedServiceQuotaChangeHistoryByQuota";
    let (status, found) = ask("GetServiceQuota", &nothing).await;
    let quota = &found["Quota"];
    assert_eq!((status, &quota["Value"]), (200, &json!(1000.0)), "{found}");
    assert_eq!(
        quota["QuotaArn"],
        "arn:aws:servicequotas:us-east-1:123456789012:lambda/L-B99A9384"
    );
    assert_eq!(quota["QuotaName"], "Concurrent executions");
    assert_eq!(ask(history, &nothing).await.1["RequestedQuotas"], json!([]));

    // A new account has less than the default.
    faults.set_quotas(Quotas {
        concurrent_executions: 10,
        ..Quotas::default()
    });
    let value = async |operation| ask(operation, &nothing).await.1["Quota"]["Value"].clone();
    assert_eq!(value("GetServiceQuota").await, 10.0);
    assert_eq!(value("GetAWSDefaultServiceQuota").await, 1000.0);

    let increase = "RequestServiceQuotaIncrease";
    let (status, low) = ask(increase, &json!({ "DesiredValue": 10 })).await;
    assert_eq!(
        (status, &low["__type"]),
        (400, &json!("IllegalArgumentException"))
    );
    let more = json!({ "DesiredValue": 5000 });
    let (status, asked) = ask(increase, &more).await;
    assert_eq!(
        (status, &asked["RequestedQuota"]["Status"]),
        (200, &json!("PENDING"))
    );
    let (_, again) = ask(increase, &more).await;
    assert_eq!(again["__type"], "ResourceAlreadyExistsException");
    let requested = ask(history, &nothing).await.1["RequestedQuotas"].clone();
    assert_eq!(requested, json!([asked["RequestedQuota"]]));
    assert_eq!(requested[0]["DesiredValue"], 5000.0);
    let open = ask(history, &json!({ "Status": "CASE_OPENED" })).await.1;
    assert_eq!(open["RequestedQuotas"], json!([]));
    assert_eq!(value("GetServiceQuota").await, 10.0);

    for (operation, more, says) in [
        (
            "GetServiceQuota",
            json!({ "QuotaCode": "L-00000000" }),
            "NoSuchResourceException",
        ),
        (
            "GetServiceQuota",
            json!({ "ServiceCode": "s3" }),
            "NoSuchResourceException",
        ),
        ("ListServices", nothing.clone(), "NotImplemented"),
    ] {
        assert_eq!(ask(operation, &more).await.1["__type"], says, "{operation}");
    }
    running.shutdown().await;
}
