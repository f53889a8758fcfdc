//! Watched descriptors of others.

use std::fs::File;
use std::io::{self, Write};

use marline_core::driver::{Capability, Close, Completion, Interest, OsError};

use super::{Bench, each};

#[test]
fn each_wait_reports_once_what_is_wanted_and_ready() {
    each(|mut bench| {
        assert!(bench.driver.supports(Capability::Watch));
        let (reader, mut writer) = io::pipe().unwrap();
        let watch = bench.driver.watch(reader.try_clone().unwrap().into(), Interest::READ).unwrap();
        bench.assert_idle();
        writer.write_all(b"x").unwrap();
        for _ in 0..2 {
            assert_eq!(reports(&mut bench), [Completion::Readable { watch }]);
        }
        bench.driver.set_interest(watch, Interest::NONE);
        bench.assert_idle();
        let other = bench.driver.watch(writer.into(), Interest::BOTH).unwrap();
        assert_eq!(reports(&mut bench), [Completion::Writable { watch: other }]);
    });
}

#[test]
fn a_watch_is_closed_although_its_owners_descriptor_is_not() {
    each(|mut bench| {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let watch = bench.driver.watch(reader.try_clone().unwrap().into(), Interest::READ).unwrap();
        bench.wait(std::time::Duration::ZERO);
        bench.driver.close(watch, Close::Graceful);
        // Neither what was collected nor what is ready still.
        bench.assert_idle();
        bench.driver.set_interest(watch, Interest::READ);
        bench.assert_idle();
        let again = bench.driver.watch(reader.into(), Interest::READ).unwrap();
        assert_eq!(again.index, watch.index);
        assert_ne!(again, watch);
        assert_eq!(bench.next(), Completion::Readable { watch: again });
    });
}

#[test]
fn what_cannot_be_polled_is_always_ready_while_it_is_wanted() {
    each(|mut bench| {
        let file = File::open("/dev/null").unwrap();
        let watch = bench.driver.watch(file.into(), Interest::BOTH).unwrap();
        assert!(bench.driver.deadline().is_some());
        for _ in 0..2 {
            let both = [Completion::Readable { watch }, Completion::Writable { watch }];
            assert_eq!(reports(&mut bench), both);
        }
        // Found ready, and not wanted when it would be told.
        bench.wait(std::time::Duration::ZERO);
        bench.driver.set_interest(watch, Interest::WRITE);
        assert_eq!(bench.driver.next(&mut bench.scratch), Some(Completion::Writable { watch }));
        bench.wait(std::time::Duration::ZERO);
        bench.driver.close(watch, Close::Graceful);
        bench.assert_idle();
        assert_eq!(bench.driver.deadline(), None);
    });
}

#[test]
fn what_the_selector_refuses_otherwise_is_an_error_at_once_and_leaves_nothing() {
    each(|mut bench| {
        let Some(own) = bench.driver.descriptor() else { return };
        let own = own.try_clone_to_owned().unwrap();
        let refused: Result<_, OsError> = bench.driver.watch(own, Interest::READ);
        assert!(refused.is_err());
        bench.assert_idle();
    });
}

/// What one wait reports.
fn reports(bench: &mut Bench) -> Vec<Completion> {
    bench.wait(std::time::Duration::from_secs(5));
    std::iter::from_fn(|| bench.driver.next(&mut bench.scratch)).collect()
}
