//! Random lives of a deployment: the configuration is edited, somebody changes the cloud behind rmx's back, an apply is
//! killed or loses answers, and so on. All of it runs through the real configuration, bundles, state file, plan and apply
//! against the embedded cloud; what must come of it is told by a small model that knows nothing of them.
//!
//! After every step the state can be read, nothing is in the cloud that is neither recorded nor somebody else's, and what is
//! somebody else's is as it was. After an apply that came to its end the cloud is what the model says, and the next plan
//! is empty. After a destroy nothing is left but what is somebody else's.

mod life;
mod model;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use life::{Base, Life};
use model::{Round, round};

/// Rounds of a life; each has a configuration of its own.
const ROUNDS: usize = 16;

/// Lives that are lived, of [`ROUNDS`] random configurations each.
const LIVES: u32 = 64;

/// How often a life that went wrong is simplified.
const SHRINKS_MAX: u32 = 200;

/// Lives the lives that are due to one thread. The seed is fixed, so that a failure is there again tomorrow.
fn live(seed: u8, lives: u32, base: &Base, rounds: &AtomicUsize) {
    let config = Config {
        cases: lives,
        max_shrink_iters: SHRINKS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let strategy = proptest::collection::vec(round(), ROUNDS);
    let result = runner.run(&strategy, |life: Vec<Round>| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut living = Life::new(base).await;
            for round in &life {
                living.go_through(round).await?;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            living.end().await
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn whatever_happens_in_whichever_order_an_apply_makes_it_right() {
    let base = Base::new();
    let rounds = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = u8::try_from(threads.clamp(1, 8)).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..threads {
            let (base, rounds) = (&base, &rounds);
            scope.spawn(move || live(seed, LIVES.div_ceil(threads.into()), base, rounds));
        }
    });
    let rounds = rounds.into_inner();
    println!("{rounds} random configurations");
    assert!(rounds >= 1_000, "{rounds}");
}
