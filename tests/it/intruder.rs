//! Somebody else at work at the same moment: whatever they do at whichever call of an apply, it is not undone in silence.
//!
//! A change is held at each call of the apply in turn, an intruder does something, and the call goes on. Either the apply
//! then says that the object moved, or the intruder's work is still there when the apply is through.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use rmx::apply::{Applied, ApplyError, ChangeError};
use rmx::cloud::{Cloud, FunctionCode, FunctionSettings, PutOptions};
use rmx::digest::Digest;
use rmx::local::{Fault, FaultKind, Moment};
use rmx::names::{BucketName, FunctionName};

use crate::support::farm::{Farm, function_zip};

/// Runs at the same time: most of each is waiting.
const AT_ONCE: usize = 12;

/// What somebody else may do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Intrusion {
    Timeout,
    Code,
    Alias,
    /// Another content for a file that the apply changes, deletes or adds.
    File(&'static str),
    /// A file that the apply changes goes.
    FileGone(&'static str),
    Manifest,
}

const CODE: &str = "somebody else's";

fn function() -> FunctionName {
    "rmx-test".parse().unwrap()
}

fn bucket() -> BucketName {
    "rmx-test-bucket".parse().unwrap()
}

fn key(intrusion: Intrusion) -> String {
    match intrusion {
        Intrusion::File(path) | Intrusion::FileGone(path) => format!("sites/hello/{path}"),
        _ => "rmx/sites/hello.json".to_owned(),
    }
}

impl Intrusion {
    async fn happen(self, cloud: &Cloud, zip: &Bytes) {
        match self {
            Self::Timeout | Self::Code => {
                let name = function();
                // Lambda takes one change at a time, whoever makes it.
                let now = cloud.settled_function(&name).await.unwrap().unwrap();
                if self == Self::Timeout {
                    let settings = FunctionSettings {
                        timeout_s: 77,
                        ..now.settings
                    };
                    cloud
                        .update_function_configuration(&name, &settings, &now.revision_id)
                        .await
                        .unwrap();
                } else {
                    let code = FunctionCode::Inline(zip.clone());
                    cloud
                        .update_function_code(&name, "x86_64", &code, &now.revision_id)
                        .await
                        .unwrap();
                }
                cloud.settled_function(&name).await.unwrap();
            }
            Self::Alias => {
                let alias = cloud.live_alias(&function()).await.unwrap().unwrap();
                cloud
                    .move_live_alias(&function(), "$LATEST", &alias.revision_id)
                    .await
                    .unwrap();
            }
            Self::File(_) | Self::Manifest => {
                let content = Bytes::from_static(CODE.as_bytes());
                cloud
                    .put_object(&bucket(), &key(self), content, &PutOptions::default())
                    .await
                    .unwrap();
            }
            Self::FileGone(_) => cloud.delete_objects(&bucket(), &[key(self)]).await.unwrap(),
        }
    }

    /// Whether it is as the intruder left it.
    async fn stands(self, cloud: &Cloud, zip: &Bytes) -> bool {
        let settings = async || {
            let found = cloud.settled_function(&function()).await.unwrap();
            found.unwrap().settings
        };
        match self {
            Self::Timeout => settings().await.timeout_s == 77,
            Self::Code => settings().await.code_sha256 == Some(Digest::of(zip)),
            Self::Alias => {
                let alias = cloud.live_alias(&function()).await.unwrap();
                alias.unwrap().version == "$LATEST"
            }
            Self::File(_) | Self::Manifest => {
                let found = cloud.get_object(&bucket(), &key(self)).await;
                found.is_ok_and(|content| content == CODE)
            }
            Self::FileGone(_) => {
                let found = cloud.head_object(&bucket(), &key(self)).await;
                found.unwrap().is_none()
            }
        }
    }
}

/// Applies the change with the intrusion at one of its calls; `None` if there are no so many calls.
async fn disturbed(
    start: &Farm,
    change: fn(&mut Farm),
    intrusion: Intrusion,
    fault: Fault,
) -> Option<(Result<Applied, ApplyError>, Farm)> {
    let mut farm = Farm::copy_of(start).await;
    change(&mut farm);
    let plan = farm.plan().await;
    let zip = Bytes::from(function_zip(CODE));
    let cloud = farm.test_cloud.connect().await;
    let faults = farm.test_cloud.faults().clone();
    faults.schedule([fault]);
    let intruder = async {
        faults.struck().await;
        intrusion.happen(&cloud, &zip).await;
        faults.release();
        std::future::pending::<()>().await;
    };
    let applied = tokio::select! {
        applied = farm.apply_plan(&plan, usize::MAX) => applied,
        () = intruder => unreachable!("it does not end"),
    };
    (faults.left() == 0).then_some((applied, farm))
}

async fn intrude(change: fn(&mut Farm), intrusions: &[Intrusion]) {
    let mut start = Farm::new().await;
    start.apply().await;
    let calls = {
        let mut farm = Farm::copy_of(&start).await;
        change(&mut farm);
        let plan = farm.plan().await;
        farm.test_cloud.faults().schedule(None);
        farm.apply_plan(&plan, usize::MAX).await.unwrap();
        farm.test_cloud.faults().calls()
    };
    let all = intrusions.iter().flat_map(|intrusion| {
        (1..=calls).map(|call| {
            let fault = Fault {
                call,
                moment: Moment::Before,
                kind: FaultKind::Held,
            };
            (*intrusion, fault)
        })
    });
    let mut runs = futures::stream::iter(all)
        .map(|(intrusion, fault)| {
            let run: LocalBoxFuture<'_, _> = Box::pin(disturbed(&start, change, intrusion, fault));
            async move { (intrusion, fault.call, run.await) }
        })
        .buffer_unordered(AT_ONCE);
    let mut refused = 0;
    while let Some((intrusion, call, outcome)) = runs.next().await {
        let Some((applied, mut farm)) = outcome else {
            continue;
        };
        let zip = Bytes::from(function_zip(CODE));
        let stands = intrusion.stands(&farm.cloud, &zip).await;
        assert!(
            stands,
            "{intrusion:?} at call {call} of {calls}: {applied:?}"
        );
        if let Err(error) = applied {
            let moved = matches!(error.cause, ChangeError::Moved);
            assert!(moved, "{intrusion:?} at call {call}: {:?}", error.cause);
            refused += 1;
        }
        // Whoever plans again sees it, and may decide to undo it.
        farm.apply().await;
        let stands = intrusion.stands(&farm.cloud, &zip).await;
        assert!(!stands, "{intrusion:?} at call {call} is not seen");
    }
    assert!(refused > 0, "nobody was in the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_change_of_a_function_is_overwritten() {
    let change = |farm: &mut Farm| {
        farm.function().memory_mb = 3008;
        farm.function().code_sha256 = farm.write_code("two");
    };
    intrude(
        change,
        &[Intrusion::Timeout, Intrusion::Code, Intrusion::Alias],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_change_of_a_site_is_overwritten() {
    let change = |farm: &mut Farm| {
        farm.want_site(&[
            ("index.html", "<h1>two</h1>"),
            ("b.js", "22"),
            ("new.js", "3"),
        ]);
    };
    intrude(
        change,
        &[
            Intrusion::File("index.html"),
            Intrusion::File("new.js"),
            Intrusion::File("a/app.js"),
            Intrusion::FileGone("b.js"),
            Intrusion::Manifest,
        ],
    )
    .await;
}
