//! The stream's file: appends and reads at the same time, and what a crash leaves.

use super::*;

#[test]
fn appends_survive_deletion_torn_lines_and_growth() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let handle = LogsHandle::new(store.clone());
    let region: Region = "eu-central-1".parse().unwrap();
    let name: LogGroupName = "g".parse().unwrap();
    let write = |text: &str| {
        handle
            .append(&region, "g", "s", vec![(1, text.to_owned())])
            .unwrap();
    };
    let file = || {
        let group = handle.service.group(&region, &name).unwrap();
        StreamFile::new(&handle.service.folder(&group.id), "s")
    };
    write("first");
    let old = file();
    std::fs::remove_dir_all(store.path("logs")).unwrap();
    std::fs::remove_file(store.path("logs-eu-central-1.json")).unwrap();
    assert_eq!(
        old.append(&[(1, "late".to_owned())], 1).unwrap(),
        Placed::NoStream
    );
    write("anew");

    // A crash in the middle of a write.
    let group = handle.service.group(&region, &name).unwrap();
    let path = std::fs::read_dir(handle.service.folder(&group.id))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"ingested_ms\":1,\"eve");
    std::fs::write(&path, torn).unwrap();
    write("behind it");
    let texts = || -> Vec<String> {
        let (_, events) = file().read().unwrap().unwrap();
        events.into_iter().map(|event| event.message).collect()
    };
    assert_eq!(texts(), ["anew", "behind it"]);
    assert_eq!(file().times().unwrap().unwrap().1.unwrap().last_event_ms, 1);

    let before = file().read().unwrap().unwrap().1.last().unwrap().position;
    let megabyte = "x".repeat(1024 * 1024);
    for _ in 0..40 {
        write(&megabyte);
    }
    let (_, events) = file().read().unwrap().unwrap();
    assert!(file().size_bytes().unwrap() <= file::FILE_BYTES_MAX);
    assert!((8..=31).contains(&events.len()), "{}", events.len());
    assert!(
        events[0].position > before,
        "positions go on when early events make way"
    );
    let (_, reread) = file().read().unwrap().unwrap();
    assert_eq!(
        reread.last().map(|e| e.position),
        events.last().map(|e| e.position)
    );
}

#[test]
fn many_writers_of_one_stream_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let handle = LogsHandle::new(Store::open(folder.path()).unwrap());
    let region: Region = "eu-central-1".parse().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (handle, region) = (handle.clone(), region.clone());
            scope.spawn(move || {
                for n in 0..25 {
                    let event = (n, format!("{writer}-{n}"));
                    handle.append(&region, "g", "s", vec![event]).unwrap();
                }
            });
        }
    });
    let group = handle
        .service
        .group(&region, &"g".parse().unwrap())
        .unwrap();
    let file = StreamFile::new(&handle.service.folder(&group.id), "s");
    assert_eq!(file.read().unwrap().unwrap().1.len(), 100);
}
